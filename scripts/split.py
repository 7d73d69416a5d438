"""Split the source messages into shards, by source language and tree: the units of translation.

Shard N of language L becomes OUTPUT/L/N.parquet, with several sources OUTPUT/NAME/L/N.parquet. Messages in other
languages, and with --only-threads those that no thread uses, are counted and left out.

    scripts/split.py --messages messages.parquet --shards en=8 es=4 --counts counts.json --output shards
    scripts/split.py --messages a.parquet b.parquet --names a b --shards a/en=8 b/nl=1 ...
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

import numpy as np

from mothertongue.common.atomic_files import read_json, scratch_beside, write_json, write_jsonl
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import first, log
from mothertongue.dataset import duplicates, trees
from mothertongue.dataset.source_shards import Source


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--messages", type=Path, nargs="+", action="extend", required=True, help="Parquet files that fetch.py wrote"
    )
    parser.add_argument("--names", nargs="+", action="extend", default=[], help="their names, where there are several")
    parser.add_argument(
        "--shards",
        nargs="+",
        action="extend",
        type=parse_shards,
        required=True,
        metavar="LANGUAGE=N",
        help="source languages to keep, each with its number of shards: en=8 es=4 nl=1, with names mine/en=8",
    )
    parser.add_argument(
        "--only-threads",
        nargs="+",
        action="extend",
        default=[],
        metavar="SELECT",
        help="keep only the messages that scripts/threads.py --select with this value can use: best or all, with names "
        "mine/best (default: keep all)",
    )
    parser.add_argument(
        "--duplicates",
        type=float,
        metavar="THRESHOLD",
        help="leave out conversations that share so much (0 to 1) of their 5-grams of words with another",
    )
    parser.add_argument(
        "--keep",
        choices=("best", "first"),
        default="best",
        help="which of them stays: with the most messages, or first",
    )
    parser.add_argument(
        "--duplicates-list", type=Path, help="JSON Lines file to write: what was left out, and for what"
    )
    parser.add_argument(
        "--fetched", type=Path, nargs="+", action="extend", default=[], help="their fetched.json, for the counts"
    )
    parser.add_argument(
        "--counts",
        type=Path,
        required=True,
        help="JSON file to write: messages, and those left out, by split and language",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write the shards to")
    return parser.parse_args()


def parse_shards(item: str) -> tuple[str, int]:
    """Return `en=8` as a language and its number of shards. Raise ArgumentTypeError for anything else."""
    language, _, number = item.partition("=")
    if not language or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"'{item}' is not LANGUAGE=N with N above 0")
    return language, int(number)


def main() -> None:
    arguments = parse_arguments()
    names = arguments.names or [""]
    if len(names) != len(arguments.messages):
        raise UserError("--names: give each of --messages a name")
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_beside(arguments.counts))
        sources = [
            read_source(name, path, arguments, folder) for name, path in zip(names, arguments.messages, strict=True)
        ]
        if arguments.duplicates:
            leave_out_duplicates(sources, arguments, folder)
        # All is read before anything is written.
        records = [read_json(path) for path in arguments.fetched]
        counts = {
            source.name: source.counts(record or {}) for source, record in zip_longest(sources, records[: len(names)])
        }
        divided = [stack.enter_context(source.divided(folder)) for source in sources]
        for source, partitions in zip(sources, divided, strict=True):
            source.write(partitions, arguments.output / source.name)
            shards, kept = sum(source.shards.values()), np.count_nonzero(source.kept)
            log(
                f"split: {kept:,} of {len(source.kept):,} messages, {shards} shards -> {arguments.output / source.name}"
            )
    write_json(arguments.counts, counts[""] if names == [""] else {"sources": counts})


def read_source(name: str, path: Path, arguments: argparse.Namespace, folder: Path) -> Source:
    """Return one source, with its messages in its languages and its scope."""
    prefix = f"{name}/" if name else ""
    shards = {key.removeprefix(prefix): number for key, number in arguments.shards if key.startswith(prefix)}
    source = Source(name, path, shards)
    languages = source.languages.most_common()
    if not source.kept.any():
        found = first([f"{language} ({count})" for language, count in languages])
        raise UserError(f"{path}: no message in any of source.languages; it has {found}")
    if left_out := [f"{language} ({count})" for language, count in languages if language not in shards]:
        log(f"split: warning: left out, not in source.languages: {first(left_out)}")
    scopes = (key.removeprefix(prefix) for key in arguments.only_threads if key.startswith(prefix))
    source.keep_threads(next(scopes, None), folder)
    if not source.kept.any():
        raise UserError(f"{path}: no tree has a thread; source.scope 'all' keeps every message")
    return source


def leave_out_duplicates(sources: Sequence[Source], arguments: argparse.Namespace, folder: Path) -> None:
    """Leave out the trees of near-duplicates among all sources, and list them."""
    documents = (
        document
        for source in sources
        for members, _ in source.trees(folder)
        if (document := trees.document(members, source.name))
    )
    found, number = duplicates.find(documents, arguments.duplicates, arguments.keep, folder)
    for source in sources:
        source.leave_out((one.tree for one in found if one.source == source.name), "duplicate")
    if arguments.duplicates_list:
        write_jsonl(arguments.duplicates_list, map(asdict, found))
    log(f"split: {len(found):,} of {number:,} conversations are near-duplicates, and left out")


if __name__ == "__main__":
    run(main)
