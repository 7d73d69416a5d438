"""Message tables passed between the steps: schemas, reading with checks, writing in parts, and hashes of ids.

The columns are those of OpenAssistant/oasst1 (https://huggingface.co/datasets/OpenAssistant/oasst1).
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mothertongue.common.errors import UserError
from mothertongue.formats.parquet import Limits, batches, rows_and_bytes, schema_of

ROLES = ("prompter", "assistant", "system")
SPLITS = ("train", "validation")
# A teacher's answers have the route TEACHER; until it has answered, the messages that wait for it are AWAITING.
TEACHER, AWAITING = "teacher", "awaiting"
ROUTES = ("native", "direct", "pivot", "multilingual", TEACHER, "none")
STATUSES = ("native", "translated", "answered", "corrected", "copied", "flagged", "failed")

_TOXICITY = ("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit")
_STRINGS, _INTEGERS, _FLOATS = pa.list_(pa.string()), pa.list_(pa.int32()), pa.list_(pa.float64())

OASST = pa.schema(
    [
        pa.field("message_id", pa.string(), nullable=False),
        pa.field("parent_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("created_date", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("review_count", pa.int32()),
        pa.field("review_result", pa.bool_()),
        pa.field("deleted", pa.bool_()),
        pa.field("rank", pa.int32()),
        pa.field("synthetic", pa.bool_()),
        pa.field("model_name", pa.string()),
        pa.field("detoxify", pa.struct([(name, pa.float64()) for name in _TOXICITY])),
        pa.field("message_tree_id", pa.string(), nullable=False),
        pa.field("tree_state", pa.string()),
        pa.field("emojis", pa.struct([("name", _STRINGS), ("count", _INTEGERS)])),
        pa.field("labels", pa.struct([("name", _STRINGS), ("value", _FLOATS), ("count", _INTEGERS)])),
    ]
)
MESSAGES = OASST.append(pa.field("split", pa.string(), nullable=False)).append(
    pa.field("source_lang", pa.string(), nullable=False)
)
TRANSLATED = pa.schema(
    [pa.field("text", pa.string()) if field.name == "text" else field for field in MESSAGES]
    + [
        pa.field("source_text", pa.string(), nullable=False),
        pa.field("route", pa.string(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reasons", _STRINGS, nullable=False),
        pa.field("score", pa.float32()),
        pa.field("meaning", pa.float32()),
    ]
)
# The column that messages have where there are several sources: the name of theirs.
SOURCE = pa.field("source", pa.string(), nullable=False)
# A language code with optional subtags: script, region, variants.
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
# Rows of a row group, and bytes of texts, so that columns stay far below Arrow's limit.
_ROWS_A_GROUP, _TEXT_BYTES_A_GROUP = 20_000, 256_000_000
# The memory of a message as Python objects, without its text, in bytes.
_OBJECTS = 1_000


# Takes a part of a table, its file's name for messages, and the number of rows before the part.
Convert = Callable[[pa.Table, str, int], pa.Table]


def _as_it_is(table: pa.Table, where: str, before: int) -> pa.Table:
    return table


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a step's Parquet file whole; see `parts`. Raise UserError where it exceeds the machine's memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = Limits(memory // _OBJECTS, memory, "this machine has not the memory for it")
    return pa.concat_tables(parts(path, schema, limits)).combine_chunks()


def parts(path: Path, schema: pa.Schema, limits: Limits | None = None) -> Iterator[pa.Table]:
    """Yield a step's Parquet file in parts of some thousand rows, the first without rows.

    Columns, types and closed vocabularies are checked; SOURCE is among the columns where the file has it. Raise
    UserError naming file, row and column, or where the file exceeds the limits (default: none).
    """
    limits = limits or Limits(sys.maxsize, sys.maxsize, "")
    schema = _with_source(schema, path)
    vocabularies = {"role": ROLES, "split": SPLITS, "route": ROUTES, "status": (*STATUSES, AWAITING)}
    before = 0
    for part in parquet_parts(path, schema, limits):
        for name, allowed in vocabularies.items():
            if name in schema.names:
                check_vocabulary(part[name].to_pylist(), allowed, name, str(path), count(before + 1))
        yield part
        before += len(part)


def _with_source(schema: pa.Schema, path: Path) -> pa.Schema:
    """Return the schema with SOURCE, where the file has it."""
    return schema.append(SOURCE) if SOURCE.name in schema_of(path).names else schema


@dataclass(frozen=True)
class MessageFiles:
    """A step's Parquet files, which iterating reads in parts, one after another; see `parts`."""

    paths: Sequence[Path]
    schema: pa.Schema

    def __iter__(self) -> Iterator[pa.Table]:
        for path in self.paths:
            yield from parts(path, self.schema)

    def batches(self, size: int) -> Iterator[pa.Table]:
        """Yield the messages in tables of `size` rows, the last of fewer; one without rows where there are none."""
        waiting, rows, first = [self.columns().empty_table()], 0, True
        for part in self:
            waiting.append(part)
            rows += len(part)
            if rows >= size:
                table = pa.concat_tables(waiting)
                whole = rows - rows % size
                for start in range(0, whole, size):
                    yield table.slice(start, size).combine_chunks()
                waiting, rows, first = [table.slice(whole)], rows - whole, False
        if rows or first:
            yield pa.concat_tables(waiting).combine_chunks()

    def columns(self) -> pa.Schema:
        """Return the schema of the parts: with SOURCE, where the first file has it."""
        return _with_source(self.schema, self.paths[0])

    def __len__(self) -> int:
        """Return the number of messages."""
        return sum(rows_and_bytes(path)[0] for path in self.paths)


def parquet_parts(path: Path, schema: pa.Schema, limits: Limits, convert: Convert = _as_it_is) -> Iterator[pa.Table]:
    """Yield the schema's columns of a Parquet file in parts of some thousand rows, the first without rows.

    Apply `convert` to each part before its check. Check the limits before decoding. Raise UserError naming file, row
    and column.
    """
    empty = schema_of(path).empty_table()
    yield conform(convert(empty, str(path), 0), schema, str(path))
    for row, batch in batches(path, limits, schema.names):
        part = convert(pa.Table.from_batches([batch]), str(path), row)
        yield conform(part, schema, str(path), row)


def write(table: pa.Table, path: Path) -> None:
    """Write a Parquet file deterministically: equal tables give equal bytes."""
    with MessageWriter(path, table.schema) as file:
        file.write(table)


class MessageWriter:
    """Writes a Parquet file in parts, deterministically: equal rows give equal bytes, whatever the parts are.

    A row group ends with the row at which it has 20,000 rows, or `most_text` bytes of texts.
    """

    def __init__(self, path: Path, schema: pa.Schema, most_text: int = _TEXT_BYTES_A_GROUP) -> None:
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self._most_text = most_text
        self._waiting = [schema.empty_table()]
        self._rows = self._bytes = 0  # of the waiting tables
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        waiting = pa.concat_tables(self._waiting)
        if kind is None and (len(waiting) or not self.rows):
            self._write_group(waiting)
        self._file.close()

    def write(self, table: pa.Table) -> None:
        """Add rows, which have the columns of the schema."""
        if not len(table):
            return
        self._waiting.append(table)
        self.rows += len(table)
        self._rows += len(table)
        self._bytes += table.nbytes
        if self._rows < _ROWS_A_GROUP and self._bytes < self._most_text:
            return
        waiting = pa.concat_tables(self._waiting)
        while (end := self._end_of_group(waiting)) is not None:
            self._write_group(waiting.slice(0, end))
            waiting = waiting.slice(end)
        # A copy: a slice would keep the memory of all rows.
        self._waiting = [waiting.take(pa.array(range(len(waiting)), pa.int64()))]
        self._rows, self._bytes = len(waiting), self._waiting[0].nbytes

    def _end_of_group(self, table: pa.Table) -> int | None:
        """Return the number of rows of the first row group of a table; None where the table is less than one."""
        sizes = _text_bytes(table.slice(0, _ROWS_A_GROUP))
        end = int(np.searchsorted(np.cumsum(sizes), self._most_text)) + 1
        return min(end, _ROWS_A_GROUP) if end <= len(sizes) or len(sizes) == _ROWS_A_GROUP else None

    def _write_group(self, table: pa.Table) -> None:
        self._file.write_table(table.combine_chunks(), row_group_size=_ROWS_A_GROUP)


def _text_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the bytes of the texts of each row."""
    sizes = np.zeros(len(table), np.int64)
    for name in ("text", "source_text"):
        if name in table.column_names:
            sizes += pc.fill_null(pc.binary_length(table[name]), 0).to_numpy()
    return sizes


def conform(table: pa.Table, schema: pa.Schema, where: str, before: int = 0) -> pa.Table:
    """Return the table with the schema's columns, order and types; `before` rows of the file precede it.

    Raise UserError naming row and column where a column is missing, has another type or fields outside the schema, or
    text that is not UTF-8. Accept only types that other programs use for the same values: Arrow would cast numbers to
    text, and 2.5 to true.
    """
    columns = []
    for field in schema:
        if (times := table.column_names.count(field.name)) != 1:
            raise UserError(f"{where}: column '{field.name}' is {'there twice' if times else 'missing'}")
        column = table[field.name]
        if unknown := _fields(column.type) - _fields(field.type):
            raise UserError(f"{where}: column '{field.name}': unknown field '{min(unknown)}'")
        column = _cast(column, field, where, before)
        if not field.nullable and column.null_count:
            row = column.is_null().to_pylist().index(True) + 1 + before
            raise UserError(f"{where}: row {row}: column '{field.name}' is empty")
        _check_text(column, f"column '{field.name}'", where, before)
        columns.append(column)
    return pa.table(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field, where: str, before: int) -> pa.ChunkedArray:
    """Cast a column to its field's type. Raise UserError where its type or a value does not fit the field."""
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type) and not pa.types.is_floating(field.type):
            column = _without_floats(column, field, where, before)
        if not _fits(column.type, field):
            raise UserError(f"{where}: column '{field.name}': expected {field.type}, found {column.type}")
        # Invalid UTF-8 is rejected later, with its row.
        return column.cast(options=pc.CastOptions(field.type, allow_invalid_utf8=True))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        message = f"{where}: column '{field.name}': expected {field.type}, found {column.type} ({error})"
        raise UserError(message) from None


def _without_floats(column: pa.ChunkedArray, field: pa.Field, where: str, before: int) -> pa.ChunkedArray:
    """Convert a column of floats, which pandas uses for nullable integers, ids and booleans, to integers or booleans.

    Raise UserError naming the row of a number that cannot be converted.
    """
    column = column.cast(pa.float64())
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), field.type)])
    if pa.types.is_boolean(field.type):
        wrong, expected = pc.invert(pc.is_in(column, pa.array([None, 0.0, 1.0]))), "true or false"
    elif pa.types.is_integer(field.type) or _is_id(field):
        # Above 2**53, float64 cannot represent every integer.
        wrong = pc.or_(pc.not_equal(pc.floor(column), column), pc.greater_equal(pc.abs(column), 2.0**53))
        expected = "a whole number"
    else:
        return column
    rows = pc.indices_nonzero(wrong)
    if len(rows):
        row = rows[0].as_py()
        found = column[row].as_py()
        raise UserError(f"{where}: row {before + row + 1}: column '{field.name}': expected {expected}, found {found!r}")
    return column.cast(pa.bool_() if pa.types.is_boolean(field.type) else pa.int64())


def _fits(found: pa.DataType, field: pa.Field) -> bool:
    """Return whether an Arrow type can hold a field's values, in any of Arrow's encodings."""
    kinds, wanted = pa.types, field.type
    if kinds.is_null(found):
        return True
    if kinds.is_dictionary(found):
        return _fits(found.value_type, field)
    if kinds.is_struct(wanted):
        return (
            kinds.is_struct(found)
            and len(set(found.names)) == found.num_fields
            and all(_fits(part.type, wanted.field(part.name)) for part in found)
        )
    if kinds.is_list(wanted):
        lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list, kinds.is_list_view)
        return any(is_kind(found) for is_kind in lists) and _fits(found.value_type, wanted.value_field)
    if kinds.is_string(wanted):
        texts = (
            *(kinds.is_string, kinds.is_large_string, kinds.is_string_view),
            *(kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view),
        )
        return (
            any(is_kind(found) for is_kind in texts)
            or (kinds.is_integer(found) and _is_id(field))
            or (kinds.is_timestamp(found) and field.name == "created_date")
        )
    if kinds.is_boolean(wanted):
        return kinds.is_boolean(found)
    return kinds.is_integer(found) or kinds.is_floating(found)


def _is_id(field: pa.Field) -> bool:
    return field.name.endswith("_id")


def _fields(kind: pa.DataType) -> set[str]:
    """Return the field names of a struct, since casting drops unknown ones silently; none of other types."""
    return set(kind.names) if pa.types.is_struct(kind) else set()


def _check_text(column: pa.ChunkedArray, name: str, where: str, before: int) -> None:
    """Raise UserError naming the row where a column's text is not UTF-8, which Arrow does not check by itself."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        for row in range(len(column)):
            try:
                column.slice(row, 1).combine_chunks().validate(full=True)
            except pa.ArrowInvalid:
                raise UserError(f"{where}: row {before + row + 1}: {name}: not UTF-8") from None
        raise


def check_vocabulary(
    values: Iterable[str],
    allowed: tuple[str, ...],
    column: str,
    where: str,
    lines: Iterable[int] | None = None,
    unit: str = "row",
) -> None:
    """Raise UserError at the first value that is not one of `allowed`; `lines` numbers the values (default: from 1)."""
    for line, value in zip(lines or count(1), values, strict=False):
        if value not in allowed:
            raise UserError(f"{where}: {unit} {line}: unknown {column} '{value}' (expected {' or '.join(allowed)})")


def check_language_tags(tags: Iterable[str], lines: Iterable[int], where: str, unit: str) -> None:
    """Raise UserError at the first text without the form of a language tag, such as pt-BR; `lines` numbers them."""
    for line, tag in zip(lines, tags, strict=True):
        if not is_language_tag(tag):
            raise UserError(f"{where}: {unit} {line}: lang {tag[:60]!r} is not a language tag such as en or pt-BR")


def is_language_tag(text: str) -> bool:
    """Return whether a text has the form of a language tag, such as pt-BR."""
    return _LANGUAGE_TAG.fullmatch(text) is not None


def hash_of(key: str, purpose: str) -> int:
    """Return a stable 64-bit hash of `key`, independent for each purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{key}".encode()).digest()[:8], "big")


def draw_key(name: str, seed: int) -> bytes:
    """Return a pseudo-random sort key that depends on a thread's name and the seed alone."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def shard_of(tree: str, shards: int) -> int:
    """Return the shard of a tree: all its messages of one source language are in one shard."""
    return hash_of(tree, "shard") % shards


def is_validation(tree: str, share: float) -> bool:
    """Return whether a tree belongs to the validation split, which takes `share` (0 to 1) of the trees."""
    return hash_of(tree, "validation") < share * 2**64
