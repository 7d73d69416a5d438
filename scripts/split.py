"""Split the source messages into shards, by source language and tree: the units of translation.

Shard N of language L becomes OUTPUT/L/N.parquet, with several sources OUTPUT/NAME/L/N.parquet. Messages in other
languages, and with --only-threads those that no thread uses, are counted and left out.

    scripts/split.py --messages messages.parquet --shards en=8 es=4 --counts counts.json --output shards
    scripts/split.py --messages a.parquet b.parquet --names a b --shards a/en=8 b/nl=1 ...
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from mothertongue.common.atomic_files import atomic_file, read_json, write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import first, log
from mothertongue.dataset import combine, trees
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
    counts = {}
    sources = zip_longest(names, arguments.messages, arguments.fetched[: len(names)])
    for name, path, fetched in sources:
        prefix = f"{name}/" if name else ""
        shards = {key.removeprefix(prefix): number for key, number in arguments.shards if key.startswith(prefix)}
        select = next((key.removeprefix(prefix) for key in arguments.only_threads if key.startswith(prefix)), None)
        record = read_json(fetched) if fetched else {}
        counts[name] = split(path, shards, select, record, arguments.output / name)
    write_json(arguments.counts, counts[""] if names == [""] else {"sources": counts})


def split(path: Path, shards: Mapping[str, int], select: str | None, record: Any, output: Path) -> combine.Counts:
    """Write the shards of one source, and return its counts."""
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
    for language, number in shards.items():
        for shard, table in enumerate(divide(kept, language, number)):
            with atomic_file(output / language / f"{shard}.parquet") as partial:
                write(table, partial)
    log(f"split: {len(kept):,} of {len(messages):,} messages, {sum(shards.values())} shards -> {output}")
    return combine.count_sources(messages, in_languages, kept, record)


if __name__ == "__main__":
    run(main)
