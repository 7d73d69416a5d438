"""Measure the loss of a model in the format of GPTQ or AWQ: its perplexity, on the tokens of scripts/perplexity.py.

The packed weights are dequantised by the formats' own description, and computed with in 16 bits.
"""

import argparse
from pathlib import Path

from mothertongue.common import gpus
from mothertongue.common.atomic_files import read_jsonl, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.prompts.templates import Encoded


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder that scripts/calibrate.py wrote")
    parser.add_argument("--tokens", type=Path, required=True, help="held-out threads as tokens")
    gpus.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="file to write the perplexity to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    rows = read_jsonl(arguments.tokens, input_ids=list, labels=list)
    threads = [Encoded(row["input_ids"], row["labels"]) for row in rows]
    gpus.claim(arguments.gpus)

    from mothertongue.export import perplexity

    found = perplexity.of_packed(arguments.model, threads)
    write_json(arguments.output, {"perplexity": found})
    log(f"calibrated_perplexity: {found:.3f}" if found else "calibrated_perplexity: no held-out threads")


if __name__ == "__main__":
    run(main)
