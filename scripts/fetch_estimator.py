"""Fetch the model of an estimator of meaning into a folder, with a record of what was resolved."""

import argparse
from pathlib import Path

from mothertongue.common import licences
from mothertongue.common.atomic_files import atomic_folder
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.models import fetching, lockfile
from mothertongue.models.record import identity
from mothertongue.models.references import FORMS, parse
from mothertongue.translation.estimators.labse import check_pooling


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help=FORMS)
    parser.add_argument(
        "--allow-noncommercial", action="store_true", help="accept a model whose licence forbids commercial use"
    )
    lockfile.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    reference = lockfile.pin(arguments.lock, parse(arguments.model))
    if not arguments.allow_noncommercial:
        licences.check(fetching.licence(reference), arguments.model)
    with atomic_folder(arguments.output) as folder:
        fetching.fetch_safetensors(reference, folder)
        with fetching.naming(reference, folder):
            check_pooling(folder)
        lockfile.check_fetched(arguments.lock, reference, folder)
    log(f"fetch_estimator: {identity(arguments.output)} -> {arguments.output}")


if __name__ == "__main__":
    run(main, hub=True)
