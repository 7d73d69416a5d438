"""Write a merged model with 4-bit weights, in the format of GPTQ or AWQ, for GPU servers such as vLLM.

AutoRound chooses how each weight is rounded, so that the model's outputs on the language's own threads change as little
as possible. The folder also contains tokenizer and chat template, a model card, and fetched.json with the origin of the
model and a checksum of every file.
"""

import argparse
from pathlib import Path

from mothertongue.cards import merged_model
from mothertongue.common import gpus
from mothertongue.common.atomic_files import atomic_folder
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.export import merged_record
from mothertongue.export.settings import CalibrationSettings
from mothertongue.formats.threads import read_threads
from mothertongue.model_folders.reading import read_training
from mothertongue.models.record import read_record


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder that scripts/merge.py wrote")
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that is merged in it")
    parser.add_argument("--threads", type=Path, required=True, help="training threads that scripts/threads.py wrote")
    parser.add_argument("--form", choices=("gptq", "awq"), required=True, help="format to write")
    add_arguments(parser, CalibrationSettings)
    parser.add_argument("--name", required=True, help="English name of the language, for the card")
    gpus.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    threads, merged = read_threads(arguments.threads), read_record(arguments.model, "merge_base")
    record = read_training(arguments.adapter, *merged_record.NEEDED)
    gpus.claim(arguments.gpus)

    from mothertongue.export import auto_round

    pieces = auto_round.windows(threads, arguments.adapter, arguments.model, arguments.sequences, arguments.length)
    with atomic_folder(arguments.output) as folder:
        size = auto_round.pack(arguments.model, arguments.form, pieces, arguments.steps, folder)
        card = merged_model.card(record, arguments.name, merged["merge_base"], arguments.form)
        (folder / "README.md").write_text(card, encoding="utf-8")
        merged_record.write_record(folder, record, merged, merged["merge_base"], arguments.form)
    log(f"calibrate: {arguments.form}, groups of {size}, {len(pieces)} x {len(pieces[0])} tokens -> {arguments.output}")


if __name__ == "__main__":
    run(main)
