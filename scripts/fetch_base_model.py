"""Fetch a base model into a folder (safetensors, tokenizer, chat template), with a record of what was resolved."""

import argparse
from pathlib import Path

from mothertongue import causal_models, fetching
from mothertongue.errors import run
from mothertongue.files import whole_folder
from mothertongue.progress import say
from mothertongue.references import FORMS, parse


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help=FORMS)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with whole_folder(arguments.output) as folder:
        causal_models.fetch(parse(arguments.model), folder)
    say(f"fetch_base_model: {fetching.identity(arguments.output)} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
