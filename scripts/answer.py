"""Let a teacher, a chat model on a server, answer in the target language what users wrote in one translated shard.

    scripts/answer.py --shard results/pt/translated/en/0.parquet --target pt --name Portuguese \\
        --model results/models/endpoints/teacher --endpoint-url http://localhost:8000/v1 --output en-0.parquet

The replies that scripts/translate.py --only-users has left get its answers, or are marked as failed with the reason.
All other messages stay as they are.
"""

import argparse
from collections import Counter
from pathlib import Path

import pyarrow as pa

from mothertongue.common import gpus, settings
from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import log
from mothertongue.endpoints.settings import EndpointSettings, add_arguments
from mothertongue.formats import messages
from mothertongue.models.endpoint import connect, finish
from mothertongue.models.record import identity
from mothertongue.teaching.answering import Teacher, answer, await_all
from mothertongue.teaching.checks import Checks
from mothertongue.teaching.prompts import Prompts
from mothertongue.teaching.settings import TeacherSettings
from mothertongue.translation.settings import QualityLimits


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shard", type=Path, required=True, help="shard that scripts/translate.py wrote")
    parser.add_argument("--target", required=True, help="code of the target language, such as nl")
    parser.add_argument("--name", required=True, help="English name of the target language, as the model is told it")
    parser.add_argument(
        "--model", type=Path, help="folder that scripts/describe_endpoint.py, or fetch_served_model.py, wrote"
    )
    parser.add_argument(
        "--replace-translations",
        action="store_true",
        help="answer in the place of all of the assistant's messages, translated ones too",
    )
    settings.add_arguments(parser, TeacherSettings)
    add_arguments(parser)
    parser.add_argument("--workers", type=int, default=1, help="threads of a server on the CPU (default: 1)")
    gpus.add_argument(parser)
    settings.add_arguments(parser.add_argument_group("checks of the answers"), QualityLimits)
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    shard = messages.read(arguments.shard, messages.TRANSLATED)
    if arguments.replace_translations:
        shard = await_all(shard)
    answered = _answered(shard, arguments) if _waits(shard) else shard
    with atomic_file(arguments.output) as partial:
        messages.write(answered, partial)
    counts = Counter(answered["status"].to_pylist()).most_common()
    statuses = ", ".join(f"{count:,} {status}" for status, count in counts)
    log(f"answer: {len(answered):,} messages ({statuses or 'none'}) -> {arguments.output}")


def _waits(shard: pa.Table) -> bool:
    """Return whether a reply waits for the teacher."""
    return messages.AWAITING in shard["status"].unique().to_pylist()


def _answered(shard: pa.Table, arguments: argparse.Namespace) -> pa.Table:
    """Return the shard with the teacher's answers. Raise UserError where no model is named."""
    if arguments.model is None:
        raise UserError("the shard has replies that wait for a teacher: name it with --model")
    endpoint = settings.from_arguments(EndpointSettings, arguments)
    own = settings.from_arguments(TeacherSettings, arguments)
    gpus.claim(arguments.gpus)
    client = connect(endpoint, arguments.model, arguments.answers, arguments.workers)
    checks = Checks(arguments.target, settings.from_arguments(QualityLimits, arguments))
    try:
        prompts = Prompts(arguments.name, endpoint.endpoint_window, own)
        return answer(shard, Teacher(identity(arguments.model), client, prompts, checks))
    finally:
        finish(client, "answer", arguments.usage)


if __name__ == "__main__":
    run(main)
