"""Fetch a base model into a folder (safetensors, tokenizer, chat template), with a record of what was resolved.

An interrupted download keeps its files in a hidden folder beside it, and resumes from there.
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import atomic_folder, refuse_link
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.models import fetch_base, lockfile
from mothertongue.models.record import identity
from mothertongue.models.references import FORMS, parse


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=FORMS)
    lockfile.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    kept = arguments.output.with_name(f".{arguments.output.name}.download")
    reference = lockfile.pin(arguments.lock, parse(arguments.model))
    fetch_base.check_base(reference)
    with atomic_folder(arguments.output) as folder:
        refuse_link(kept)
        fetch_base.fetch(reference, folder, kept)
    log(f"fetch_base_model: {identity(arguments.output)} -> {arguments.output}")


if __name__ == "__main__":
    run(main, hub=True)
