"""Write a model as GGUF in float16 for llama.cpp and programs based on it, or, with --base-model, an adapter alone.

scripts/convert_to_gguf.py --folder results/nl/export/merged --name llama-2-nl --output f16.gguf
scripts/convert_to_gguf.py --folder results/nl/adapter --base-model results/models/base/MODEL --output adapter.gguf
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export.gguf import convert


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the model, or of the adapter")
    parser.add_argument("--base-model", type=Path, help="folder of the base model that the adapter is to be laid over")
    parser.add_argument("--name", default="", help="what the model is called inside the file")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with atomic_file(arguments.output) as partial:
        if arguments.base_model:
            convert.convert_adapter(arguments.folder, arguments.base_model, partial)
        else:
            convert.convert_model(arguments.folder, arguments.name, partial)
    log(f"convert_to_gguf: {arguments.output.stat().st_size / 1e6:,.0f} MB -> {arguments.output}")


if __name__ == "__main__":
    run(main)
