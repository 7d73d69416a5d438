"""Write the record of an endpoint's model: its name and licence, as of a model that was fetched."""

import argparse
from pathlib import Path

from mothertongue.common import settings
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.endpoints.description import describe
from mothertongue.endpoints.settings import EndpointModel


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    settings.add_arguments(parser, EndpointModel)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    model = settings.from_arguments(EndpointModel, arguments)
    describe(model, arguments.output)
    log(f"describe_endpoint: {model.name} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
