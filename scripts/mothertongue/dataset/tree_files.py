"""The conversation trees of messages that do not fit in memory, one by one, in whatever order the messages are."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from mothertongue.dataset.trees import COLUMNS, Message, from_table
from mothertongue.formats.messages import parts
from mothertongue.formats.partitions import Partitions, buckets, partitions_of

# The number of a message among all that were given.
_ROW = pa.field("row", pa.int64())
# Rows, and bytes, that are read at a time, of all partitions together.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 20_000, 64_000_000

Tree = tuple[list[Message], list[int]]


def trees_of(path: Path, schema: pa.Schema, folder: Path) -> Iterator[list[Message]]:
    """Yield the messages of each tree of a step's Parquet file.

    Trees are in the order of their first messages, and the messages of each in their order. `folder` is for temporary
    files.
    """
    for members, _ in numbered_trees(parts(path, columns_of(schema)), partitions_of(path), folder):
        yield members


def columns_of(schema: pa.Schema) -> pa.Schema:
    """Return the part of a schema that trees are made of: the columns to read."""
    return pa.schema([field for field in schema if field.name in COLUMNS])


def numbered_trees(tables: Iterable[pa.Table], count: int, folder: Path) -> Iterator[Tree]:
    """Yield the messages of each tree, as `trees_of`, with their numbers among all that are given in `tables`.

    Method: the messages are divided by a hash of their tree into `count` partitions, each partition is sorted in
    memory, and these are merged.
    """
    numbered = _numbered(tables)
    if count == 1:
        yield from _trees(_sorted(pa.concat_tables(numbered)).to_batches(_ROWS_AT_ONCE))
        return
    with Partitions(folder / "trees") as divided, Partitions(folder / "sorted") as ordered:
        for table in numbered:
            divided.write(table, buckets(table["message_tree_id"].to_pylist(), count))
        for number in range(count):
            batches = list(divided.read(number))
            divided.remove(number)
            if batches:
                table = _sorted(pa.Table.from_batches(batches))
                rows = min(_ROWS_AT_ONCE, len(table) * _BYTES_AT_ONCE // max(1, table.nbytes))
                ordered.append(table, number, max(1, rows // count))
        yield from heapq.merge(*(_trees(ordered.read(number)) for number in range(count)), key=_first_number)


def _numbered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    before = 0
    for table in tables:
        numbers = pa.array(range(before, before + len(table)), _ROW.type)
        yield table.select(columns_of(table.schema).names).append_column(_ROW, numbers)
        before += len(table)


def _sorted(table: pa.Table) -> pa.Table:
    """Return messages by tree, the trees in the order of their first messages."""
    # The codes of a dictionary are in the order of first use.
    codes = table["message_tree_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    return table.take(pa.array(np.argsort(codes, kind="stable")))


def _trees(batches: Iterable[pa.RecordBatch]) -> Iterator[Tree]:
    """Yield the messages of each tree, and their numbers, of messages that are sorted."""
    members: list[Message] = []
    numbers: list[int] = []
    for batch in batches:
        for message, number in zip(
            from_table(pa.Table.from_batches([batch])), batch[_ROW.name].to_pylist(), strict=True
        ):
            if members and message.tree != members[0].tree:
                yield members, numbers
                members, numbers = [], []
            members.append(message)
            numbers.append(number)
    if members:
        yield members, numbers


def _first_number(tree: Tree) -> int:
    return tree[1][0]
