"""Fetch a model that jobs serve themselves, as it is, with a record of what was resolved.

An interrupted download keeps its files in a hidden folder beside it, and resumes from there.
"""

import argparse
from pathlib import Path

from mothertongue.common import licences, settings
from mothertongue.common.atomic_files import atomic_folder, refuse_link
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.endpoints.settings import ServedModel
from mothertongue.models import fetch_served, fetching, lockfile
from mothertongue.models.record import identity
from mothertongue.models.references import FORMS, parse


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=FORMS)
    settings.add_arguments(parser, ServedModel)
    parser.add_argument("--licence", help="of the model, where its card names none")
    parser.add_argument("--serve", choices=("vllm", "llama_cpp"), required=True, help="what will serve it")
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
        licences.check(fetching.licence(reference) or arguments.licence, arguments.model)
    kept = arguments.output.with_name(f".{arguments.output.name}.download")
    with atomic_folder(arguments.output) as folder:
        refuse_link(kept)
        fetch_served.fetch(reference, folder, arguments.serve, arguments.file, kept)
        fetching.add_licence(folder, arguments.licence or "")
    log(f"fetch_served_model: {identity(arguments.output)} -> {arguments.output}")


if __name__ == "__main__":
    run(main, hub=True)
