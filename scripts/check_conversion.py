"""Check from a base model whether llama.cpp's converter supports what is tuned from it, before any work is done.

A dry run of the converter itself decides: for the merged model, whether it supports architecture and tokenizer; with
--lora-targets, whether it supports an adapter of those layers alone.
"""

import argparse
import tempfile
from pathlib import Path

from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export.gguf import convert


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", type=Path, required=True, help="folder of the base model, as it was fetched")
    parser.add_argument(
        "--lora-targets",
        nargs="+",
        action="extend",
        help="the layers that adapt, where the adapter alone is to be converted",
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write what was found to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.lora_targets:
        from mothertongue.export import dummy_adapter

        with tempfile.TemporaryDirectory() as scratch:
            adapter = Path(scratch) / "adapter"
            dummy_adapter.write(arguments.base_model, arguments.lora_targets, adapter)
            convert.check_adapter(adapter, arguments.base_model)
    else:
        convert.check_model(arguments.base_model)
    converter = convert.converter_version()
    write_json(arguments.output, {"lora_targets": arguments.lora_targets, "converter": converter})
    log(f"check_conversion: {arguments.base_model}: taken by the converter of {converter}")


if __name__ == "__main__":
    run(main)
