"""Split the source messages into shards, by source language and tree: the units of translation.

Shard N of language L becomes OUTPUT/L/N.parquet. Messages in other languages, and with --only-threads those that no
thread uses, are counted and left out.
"""

import argparse
from collections import Counter
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file, read_json, write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import first, log
from mothertongue.dataset import combine, trees
from mothertongue.formats.messages import MESSAGES, divide, read, write


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=Path, required=True, help="Parquet file that scripts/fetch.py wrote")
    parser.add_argument(
        "--shards",
        nargs="+",
        action="extend",
        type=parse_shards,
        required=True,
        metavar="LANGUAGE=N",
        help="source languages to keep, each with its number of shards: en=8 es=4 nl=1",
    )
    parser.add_argument(
        "--only-threads",
        choices=("best", "all"),
        help="keep only the messages that scripts/threads.py --select with this value can use (default: keep all)",
    )
    parser.add_argument("--fetched", type=Path, help="JSON file that scripts/fetch.py --record wrote, for the counts")
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
    shards = dict(arguments.shards)
    messages = read(arguments.messages, MESSAGES)
    languages = Counter(messages["source_lang"].to_pylist())
    in_languages = combine.of_languages(messages, shards)
    if not len(in_languages):
        found = first([f"{language} ({count})" for language, count in languages.most_common()])
        raise UserError(f"{arguments.messages}: no message in any of source.languages; it has {found}")
    if left_out := [f"{language} ({count})" for language, count in languages.most_common() if language not in shards]:
        log(f"split: warning: left out, not in source.languages: {first(left_out)}")
    kept = trees.of_threads(in_languages, arguments.only_threads) if arguments.only_threads else in_languages
    if not len(kept):
        raise UserError(f"{arguments.messages}: no tree has a thread; source.scope 'all' keeps every message")
    for language, number in shards.items():
        for shard, table in enumerate(divide(kept, language, number)):
            with atomic_file(arguments.output / language / f"{shard}.parquet") as partial:
                write(table, partial)
    record = read_json(arguments.fetched) if arguments.fetched else {}
    write_json(arguments.counts, combine.count_sources(messages, in_languages, kept, record))
    log(f"split: {len(kept):,} of {len(messages):,} messages, {sum(shards.values())} shards -> {arguments.output}")


if __name__ == "__main__":
    run(main)
