"""Measure the loss of a GGUF file: its perplexity, computed by llama.cpp on the tokens of scripts/perplexity.py."""

import argparse
from dataclasses import asdict
from pathlib import Path

from mothertongue.common.arguments import positive
from mothertongue.common.atomic_files import read_jsonl, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export.gguf import perplexity


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--tokens", type=Path, required=True, help="held-out threads as tokens")
    parser.add_argument("--threads", type=positive, default=2, help="threads to compute with (default: 2)")
    parser.add_argument("--output", type=Path, required=True, help="file to write the perplexity to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    threads = read_jsonl(arguments.tokens, input_ids=list, labels=list, text=str)
    found = perplexity.measure(arguments.model, threads, arguments.threads)
    write_json(arguments.output, asdict(found))
    log(f"gguf_perplexity: {perplexity.format_perplexity(arguments.model, found)}")


if __name__ == "__main__":
    run(main)
