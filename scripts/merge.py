"""Merge an adapter into its base model, for every program that loads safetensors.

Weights are read and written one at a time, in the base model's dtype. The folder also contains tokenizer and chat
template, a model card, and fetched.json with the origin of the model and a checksum of every file.
"""

import argparse
from pathlib import Path

from mothertongue.cards import merged_model
from mothertongue.common.atomic_files import atomic_folder
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.export import merged_record
from mothertongue.export.settings import MergeSettings
from mothertongue.model_folders.reading import read_training
from mothertongue.models.record import read_record


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, required=True, help="folder of its base model, as it was fetched")
    add_arguments(parser, MergeSettings)
    parser.add_argument("--name", required=True, help="English name of the language, for the card")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    record = read_training(arguments.adapter, *merged_record.NEEDED, "settings.quantization", "settings.dtype", "dtype")
    base = read_record(arguments.base_model)
    merged_record.check(record, arguments.merge_base)

    from mothertongue.export import merge

    with atomic_folder(arguments.output) as folder:
        merge.merge(arguments.adapter, arguments.base_model, arguments.merge_base, merge.trained_in(record), folder)
        card = merged_model.card(record, arguments.name, arguments.merge_base)
        (folder / "README.md").write_text(card, encoding="utf-8")
        merged_record.write_record(folder, record, base, arguments.merge_base)
    log(f"merge: {merged_record.described(record, arguments.merge_base)} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
