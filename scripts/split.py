"""Split the source messages into shards, by source language and tree: the units of translation.

Shard N of language L becomes OUTPUT/L/N.parquet, with several sources OUTPUT/NAME/L/N.parquet. Messages in other
languages, and with --only-threads those that no thread uses, are counted and left out.

    scripts/split.py --messages messages.parquet --shards en=8 es=4 --counts counts.json --output shards
    scripts/split.py --messages a.parquet b.parquet --names a b --shards a/en=8 b/nl=1 ...
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from mothertongue.common.atomic_files import atomic_file, read_json, write_json, write_jsonl
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import first, log
from mothertongue.dataset import combine, duplicates, trees
from mothertongue.formats.messages import MESSAGES, divide, read, write


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
    sources = [
        read_source(name, path, fetched, arguments)
        for name, path, fetched in zip_longest(names, arguments.messages, arguments.fetched[: len(names)])
    ]
    if arguments.duplicates:
        leave_out_duplicates(sources, arguments)
    for source in sources:
        write_shards(source, arguments.output / source.name)
    counts = {source.name: combine.count_sources(source.messages, source.left, source.record) for source in sources}
    write_json(arguments.counts, counts[""] if names == [""] else {"sources": counts})


@dataclass
class Source:
    """One of the sources: its messages, its number of shards by language, and the messages left after each reason."""

    name: str
    messages: pa.Table
    shards: Mapping[str, int]
    left: dict[str, pa.Table]
    record: Any

    @property
    def kept(self) -> pa.Table:
        """The messages that are to be translated."""
        return next(reversed(self.left.values()))


def read_source(name: str, path: Path, fetched: Path | None, arguments: argparse.Namespace) -> Source:
    """Return the messages of one source in its languages and its scope."""
    prefix = f"{name}/" if name else ""
    shards = {key.removeprefix(prefix): number for key, number in arguments.shards if key.startswith(prefix)}
    select = next((key.removeprefix(prefix) for key in arguments.only_threads if key.startswith(prefix)), None)
    messages = read(path, MESSAGES)
    languages = Counter(messages["source_lang"].to_pylist())
    in_languages = combine.of_languages(messages, shards)
    if not len(in_languages):
        found = first([f"{language} ({count})" for language, count in languages.most_common()])
        raise UserError(f"{path}: no message in any of source.languages; it has {found}")
    if left_out := [f"{language} ({count})" for language, count in languages.most_common() if language not in shards]:
        log(f"split: warning: left out, not in source.languages: {first(left_out)}")
    kept: pa.Table = trees.of_threads(in_languages, select) if select else in_languages
    if not len(kept):
        raise UserError(f"{path}: no tree has a thread; source.scope 'all' keeps every message")
    left = {"language": in_languages, "scope": kept}
    return Source(name, messages, shards, left, read_json(fetched) if fetched else {})


def leave_out_duplicates(sources: Sequence[Source], arguments: argparse.Namespace) -> None:
    """Leave out the trees of near-duplicates among all sources, and list them."""
    documents = [document for source in sources for document in trees.documents(source.kept, source.name)]
    found = duplicates.find(documents, arguments.duplicates, arguments.keep)
    for source in sources:
        source.left["duplicate"] = trees.without(source.kept, {one.tree for one in found if one.source == source.name})
    if arguments.duplicates_list:
        write_jsonl(arguments.duplicates_list, map(asdict, found))
    log(f"split: {len(found):,} of {len(documents):,} conversations are near-duplicates, and left out")


def write_shards(source: Source, output: Path) -> None:
    """Write the shards of one source."""
    for language, number in source.shards.items():
        for shard, table in enumerate(divide(source.kept, language, number)):
            with atomic_file(output / language / f"{shard}.parquet") as partial:
                write(table, partial)
    shards = sum(source.shards.values())
    log(f"split: {len(source.kept):,} of {len(source.messages):,} messages, {shards} shards -> {output}")


if __name__ == "__main__":
    run(main)
