"""Translate one shard of messages into the target language; every message comes back with its status.

    scripts/translate.py --shard results/source/shards/en/0.parquet --target pt --route direct \\
        --engine firefox --model results/models/translation/NAME --output en-0.parquet
"""

import argparse
from pathlib import Path

from mothertongue import shards
from mothertongue.errors import UserError, run
from mothertongue.messages import MESSAGES, TRANSLATED, read
from mothertongue.shard_program import add_engine_arguments, finish, limits, running_engine


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shard", type=Path, required=True, help="shard to translate (for a pivot: in English)")
    parser.add_argument("--target", required=True, help="code of the target language, such as nl")
    parser.add_argument(
        "--route",
        choices=("native", "direct", "pivot", "none"),
        default="direct",
        help="native: the shard is in the target language already; pivot: it was brought into English before; "
        "none: no model exists, every message is marked as failed (default: direct)",
    )
    add_engine_arguments(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    shard = read(arguments.shard, TRANSLATED if arguments.route == "pivot" else MESSAGES)
    if arguments.route == "native":
        translated = shards.keep(shard, arguments.target)
    elif arguments.route == "none":
        translated = shards.give_up(shard, arguments.target)
    elif arguments.model is None:
        raise UserError(f"--route {arguments.route} needs --model")
    else:
        with running_engine(arguments) as (engine, model):
            step = shards.translate_pivot if arguments.route == "pivot" else shards.translate
            translated = step(shard, arguments.target, engine.translate, model, limits(arguments))
    finish("translate", translated, arguments.output)


if __name__ == "__main__":
    run(main)
