"""What the programs that translate a shard share: their arguments, the running engine, the closing line."""

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from mothertongue import engines, fetching
from mothertongue.files import whole_file
from mothertongue.messages import write
from mothertongue.progress import say
from mothertongue.quality import Limits


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of engine, model, quality checks and output."""
    defaults = Limits()
    parser.add_argument("--engine", default="firefox", help="translation engine (default: firefox)")
    parser.add_argument("--model", type=Path, help="model folder that scripts/fetch_translation_model.py wrote")
    parser.add_argument("--workers", type=int, default=1, help="processes that translate side by side (default: 1)")
    parser.add_argument(
        "--length-ratio",
        type=float,
        default=defaults.length_ratio,
        help=f"flag a sentence whose translation is so many times longer or shorter (default: {defaults.length_ratio})",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=defaults.repeats,
        help=f"flag a translation that says a run of words more often than this in a row (default: {defaults.repeats})",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")


@contextmanager
def running_engine(arguments: argparse.Namespace) -> Iterator[tuple[engines.Engine, str]]:
    """The engine, loaded, and the identity of its model."""
    model = fetching.identity(arguments.model)
    engine = engines.load(arguments.engine, arguments.model, arguments.workers)
    try:
        yield engine, model
    finally:
        engine.close()


def limits(arguments: argparse.Namespace) -> Limits:
    """The limits of the quality checks."""
    return Limits(length_ratio=arguments.length_ratio, repeats=arguments.repeats)


def finish(task: str, table: pa.Table, output: Path) -> None:
    """Write the translated shard and say what became of its messages."""
    with whole_file(output) as partial:
        write(table, partial)
    counts = ", ".join(f"{count:,} {status}" for status, count in Counter(table["status"].to_pylist()).most_common())
    say(f"{task}: {len(table):,} messages ({counts or 'none'}) -> {output}")
