"""Write the record of an endpoint's model: its name and licence, as of a model that was fetched."""

import argparse
from pathlib import Path

from mothertongue.common import settings
from mothertongue.common.atomic_files import atomic_folder, write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import log
from mothertongue.endpoints.settings import EndpointModel
from mothertongue.model_folders.contents import RECORD


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    settings.add_arguments(parser, EndpointModel)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    model = settings.from_arguments(EndpointModel, arguments)
    if not model.name:
        raise UserError("endpoint.model is missing: what the server calls the model")
    record = {"reference": model.name, "kind": "endpoint", "revision": "endpoint", "licence": model.licence}
    with atomic_folder(arguments.output) as folder:
        write_json(folder / RECORD, record)
    log(f"describe_endpoint: {model.name} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
