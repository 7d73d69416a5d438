"""Measure the effect of merging: perplexity on held-out threads, of the adapter as it was tuned and when merged.

For an adapter tuned in 4 bits both merges are measured: into the base model's own weights, and into the 4-bit ones.
Also write the threads' tokens and texts, for programs that cannot render a chat template.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from mothertongue.common import gpus
from mothertongue.common.arguments import positive
from mothertongue.common.atomic_files import write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.formats.threads import read_threads


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, required=True, help="folder of its base model")
    parser.add_argument("--merged", type=Path, required=True, help="folder that scripts/merge.py wrote")
    parser.add_argument("--threads", type=Path, required=True, help="validation threads that scripts/threads.py wrote")
    parser.add_argument("--count", type=positive, default=200, help="threads to read at most (default: 200)")
    gpus.add_argument(parser)
    parser.add_argument("--tokens", type=Path, required=True, help="file to write the threads' tokens to")
    parser.add_argument("--output", type=Path, required=True, help="file to write the perplexities to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    threads = read_threads(arguments.threads)[: arguments.count]
    gpus.claim(arguments.gpus)

    from mothertongue.export import perplexity

    pairs = perplexity.encode(threads, arguments.adapter, arguments.base_model)
    write_jsonl(arguments.tokens, [asdict(thread) | {"text": text} for thread, text in pairs])
    encoded = [thread for thread, _ in pairs]
    found = perplexity.of_models(arguments.adapter, arguments.base_model, arguments.merged, encoded)
    tokens = sum(thread.targets for thread in encoded)
    write_json(arguments.output, {"threads": len(encoded), "tokens": tokens, "perplexity": found})
    for name, value in found.items():
        log(f"perplexity: {name}: {value:.3f}" if value else "perplexity: there are no held-out threads")


if __name__ == "__main__":
    run(main)
