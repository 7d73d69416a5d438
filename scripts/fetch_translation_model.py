"""Fetch a translation model into a folder, converted for its engine, with a record of what was resolved."""

import argparse
from pathlib import Path

from mothertongue.common import licences
from mothertongue.common.atomic_files import atomic_folder
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.models import fetching, lockfile
from mothertongue.models.record import identity
from mothertongue.models.references import FORMS, parse
from mothertongue.translation import engines
from mothertongue.translation.engines.fetch import fetch_model


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True, help=f"engine that will run it: {', '.join(engines.NAMES)}")
    parser.add_argument("--model", required=True, help=f"{FORMS}, or firefox:SOURCE/TARGET")
    parser.add_argument(
        "--allow-noncommercial", action="store_true", help="accept a model whose licence forbids commercial use"
    )
    lockfile.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    engine = engines.find(arguments.engine)
    reference = lockfile.pin(arguments.lock, parse(arguments.model))
    if not arguments.allow_noncommercial:
        licences.check(fetching.licence(reference) or engine.UNMARKED_LICENCE, arguments.model)
    with atomic_folder(arguments.output) as folder:
        fetch_model(arguments.engine, reference, folder)
        lockfile.check_fetched(arguments.lock, reference, folder)
        fetching.add_licence(folder, engine.UNMARKED_LICENCE)
    log(f"fetch_translation_model: {identity(arguments.output)} -> {arguments.output}")


if __name__ == "__main__":
    run(main, hub=True)
