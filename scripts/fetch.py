"""Fetch the source dataset: every message of all its splits in one checked Parquet file.

scripts/fetch.py --dataset OpenAssistant/oasst1 --revision main --output messages.parquet
scripts/fetch.py --dataset messages.jsonl --validation 0.05 --output messages.parquet
scripts/fetch.py --dataset train=a.jsonl.gz validation=b.jsonl.gz --output messages.parquet
"""

import argparse
import tempfile
from pathlib import Path

from mothertongue.common.atomic_files import sha256, whole_file, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import say
from mothertongue.formats.messages import write
from mothertongue.source import dataset_reference, oasst


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset",
        nargs="+",
        action="extend",
        required=True,
        help="a dataset on the hub (owner/name), or local files in the OASST schema (.jsonl, .jsonl.gz, .parquet): "
        "one file, or train=FILE validation=FILE",
    )
    parser.add_argument("--revision", help="commit, tag or branch of a dataset on the hub (default: the newest)")
    parser.add_argument(
        "--validation",
        type=share,
        default=0.05,
        help="share of the trees, chosen by hash, that become the validation split where there is none (default 0.05)",
    )
    for option, default, what in (
        ("--max-rows", 5_000_000, "most messages of all files together"),
        ("--max-megabytes", 4_000, "most megabytes of all files together, decompressed"),
        ("--max-line-megabytes", 16, "most megabytes of a line of JSON"),
    ):
        parser.add_argument(option, type=int, default=default, metavar="N", help=f"{what} (default {default:,})")
    parser.add_argument("--record", type=Path, help="JSON file to write: files and revisions that were read")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    return parser.parse_args()


def share(text: str) -> float:
    """A number from 0 to below 1."""
    if not 0 <= (number := float(text)) < 1:
        raise ValueError
    return number


def main() -> None:
    arguments = parse_arguments()
    files = dataset_reference.local_files(arguments.dataset)
    limits = oasst.new_limits(arguments.max_rows, arguments.max_megabytes, arguments.max_line_megabytes)
    if files:
        tables = {split: oasst.read_file(path, limits) for split, path in files.items()}
        resolved = {str(path): f"sha256:{sha256(path)}" for path in files.values()}
    else:
        with tempfile.TemporaryDirectory() as scratch:
            tables, resolved = oasst.download(arguments.dataset[0], arguments.revision, Path(scratch), limits)
    messages = oasst.combine_splits(tables, arguments.validation)
    with whole_file(arguments.output) as partial:
        write(messages, partial)
    if arguments.record:
        write_json(arguments.record, {"dataset": arguments.dataset, "resolved": resolved})
    trees = len(set(messages["message_tree_id"].to_pylist()))
    say(f"fetch: {len(messages):,} messages in {trees:,} trees -> {arguments.output}")


if __name__ == "__main__":
    run(main, hub=True)
