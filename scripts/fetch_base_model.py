"""Fetch a base model into a folder (safetensors, tokenizer, chat template), with a record of what was resolved."""

import argparse
import tempfile
from pathlib import Path

from mothertongue import fetching
from mothertongue.errors import UserError, run
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
    reference = parse(arguments.model)
    with whole_folder(arguments.output) as folder:
        if reference.text.endswith(".gguf"):
            from mothertongue.gguf_models import convert

            with tempfile.TemporaryDirectory() as scratch:
                resolved = fetching.bring(reference, Path(scratch))
                convert(next(Path(scratch).glob("*.gguf")), folder)
            fetching.write_record(folder, reference, resolved)
        else:
            fetching.fetch(reference, folder)
        if not any(folder.glob("*.safetensors")):
            raise UserError(f"'{arguments.model}': no weights in safetensors or GGUF; other formats are not loaded")
    say(f"fetch_base_model: {fetching.identity(arguments.output)} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
