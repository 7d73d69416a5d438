"""Write a float16 GGUF file with fewer bits per weight: q8_0, q4_k_m, and llama.cpp's other quantisations.

A model whose rows llama.cpp cannot divide into blocks is refused; where only K-quants cannot, those weights fall back
to another quantisation, and the file is larger than its name suggests.
"""

import argparse
from pathlib import Path

from mothertongue.common.arguments import positive
from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export.gguf import quantize


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="GGUF file in float16")
    parser.add_argument("--quantization", required=True, help="such as q4_k_m")
    parser.add_argument("--threads", type=positive, default=2, help="threads to compute with (default: 2)")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    fallen_back = quantize.check_shapes(arguments.model, arguments.quantization)
    with atomic_file(arguments.output) as partial:
        quantize.quantize(arguments.model, arguments.quantization, arguments.threads, partial)
    note = f" ({fallen_back} weights in a larger quantisation: their rows do not fit)" if fallen_back else ""
    log(f"quantize: {arguments.output.stat().st_size / 1e6:,.0f} MB{note} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
