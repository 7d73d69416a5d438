"""Fetch the source dataset: every message of all its splits, in one validated Parquet file.

scripts/fetch.py --dataset OpenAssistant/oasst1 --revision main --output messages.parquet
scripts/fetch.py --dataset messages.jsonl --validation 0.05 --output messages.parquet
scripts/fetch.py --dataset train=a.jsonl.gz validation=b.jsonl.gz --output messages.parquet
"""

import argparse
import tempfile
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file, sha256, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments, from_arguments
from mothertongue.formats.messages import write
from mothertongue.source import dataset_reference, oasst
from mothertongue.source.settings import FetchSettings, LimitSettings


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
    add_arguments(parser, FetchSettings, LimitSettings)
    parser.add_argument("--record", type=Path, help="JSON file to write: files and revisions that were read")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    files = dataset_reference.local_files(arguments.dataset)
    limits = oasst.new_limits(from_arguments(LimitSettings, arguments))
    if files:
        tables = {split: oasst.read_file(path, limits) for split, path in files.items()}
        resolved = {str(path): f"sha256:{sha256(path)}" for path in files.values()}
    else:
        with tempfile.TemporaryDirectory() as scratch:
            tables, resolved = oasst.download(arguments.dataset[0], arguments.revision, Path(scratch), limits)
    messages = oasst.combine_splits(tables, arguments.validation)
    with atomic_file(arguments.output) as partial:
        write(messages, partial)
    if arguments.record:
        write_json(arguments.record, {"dataset": arguments.dataset, "resolved": resolved})
    trees = len(set(messages["message_tree_id"].to_pylist()))
    log(f"fetch: {len(messages):,} messages in {trees:,} trees -> {arguments.output}")


if __name__ == "__main__":
    run(main, hub=True)
