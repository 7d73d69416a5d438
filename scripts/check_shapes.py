"""Check from a base model's configuration whether it can be quantised to about 4 bits, before any work is done.

The shapes of its weights decide: GPTQ and AWQ need rows in groups, llama.cpp's quantisations in blocks.
"""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export.gguf import quantize


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", type=Path, required=True, help="folder of the base model, as it was fetched")
    parser.add_argument("--form", required=True, help="gptq, awq, or a quantisation of GGUF files such as q4_k_m")
    parser.add_argument("--output", type=Path, required=True, help="file to write what was found to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()

    from mothertongue.export import gptq_awq, linear_layers

    if arguments.form in gptq_awq.FORMS:
        layers = linear_layers.packed_layers(arguments.base_model, arguments.form)
        size = gptq_awq.group_size(layers, arguments.form, arguments.base_model)
        found, said = {"group_size": size}, f"groups of {size} weights share a scale"
    else:
        rows = linear_layers.row_lengths(arguments.base_model)
        count = quantize.check_rows(rows, arguments.form, arguments.base_model)
        found, said = {"fall_back": count}, f"{count} weights take a larger quantisation, since their rows do not fit"
    write_json(arguments.output, {"form": arguments.form, **found})
    log(f"check_shapes: {arguments.form}: {said}")


if __name__ == "__main__":
    run(main)
