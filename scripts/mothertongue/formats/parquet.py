"""Parquet files of unknown origin, read in batches within limits that are checked before memory is allocated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mothertongue.common.errors import UserError

# Rows decoded at once, and about how many of their bytes are handed on at once.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 5_000, 64_000_000
# Arrow's limit for the texts of one column of a row group, in bytes.
_COLUMN = 2**31 - 2**16


@dataclass
class Limits:
    """Limits of a dataset's messages and decompressed bytes, over all its files, and of the bytes of a JSON line.

    `advice` ends the error message; {key} in it stands for the configuration's key.
    """

    rows: int
    size: int
    advice: str
    line: int = 0
    rows_read: int = 0
    size_read: int = 0

    def check(self, where: str, rows: int, size: int) -> None:
        """Raise UserError where `rows` and `size` (bytes) more would exceed the limits."""
        if self.rows_read + rows > self.rows:
            advice = self.advice.format(key="rows")
            raise UserError(f"{where}: more than {self.rows:,} messages; {advice}")
        if self.size_read + size > self.size:
            advice = self.advice.format(key="megabytes")
            raise UserError(f"{where}: more than {self.size / 1e6:,.0f} MB decompressed; {advice}")

    def count(self, where: str, rows: int, size: int) -> None:
        """Add rows and bytes that were read. Raise UserError where they exceed the limits."""
        self.check(where, rows, size)
        self.rows_read += rows
        self.size_read += size


def batches(
    path: Path, limits: Limits, names: Sequence[str] | None = None, rows: int = _ROWS_AT_ONCE
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of a Parquet file in batches, each with the number of rows before it; texts are dictionaries.

    `names` are the columns that are wanted (default: all); those that are not there are left out. Check the limits
    before decoding: equal texts are stored once, so a small file can hold any number of rows. Raise UserError where the
    file cannot be read or exceeds them.
    """
    with _reading(path, limits):
        file = pq.ParquetFile(path)
        fields = [file.schema.column(number) for number in range(len(file.schema))]
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        wanted = [name for name in file.schema_arrow.names if names is None or name in names]
        widths = [_width(field) if field.path.partition(".")[0] in wanted else 0 for field in fields]
        values = sum(
            max(0, group.column(number).num_values) * width for group in groups for number, width in enumerate(widths)
        )
        size = sum(max(0, group.total_byte_size) for group in groups)
        limits.check(str(path), file.metadata.num_rows, max(size, values))
        for group in groups:
            if any(group.column(number).total_uncompressed_size > _COLUMN for number in range(group.num_columns)):
                raise UserError(f"{path}: a row group has over 2 GB in one column; write it with smaller row groups")
        texts = [field.path for field in fields if field.physical_type == "BYTE_ARRAY"]
        found = by_row_group(pq.ParquetFile(path, read_dictionary=texts), rows, wanted)
    row = 0
    while True:
        with _reading(path, limits):
            if (batch := next(found, None)) is None:
                return
            size = decoded_size(batch)
            limits.count(str(path), len(batch), size)
        step = max(1, min(len(batch), len(batch) * _BYTES_AT_ONCE // max(1, size)))
        for start in range(0, len(batch), step):
            yield row + start, batch.slice(start, step)
        row += len(batch)


def by_row_group(
    file: pq.ParquetFile, rows: int = _ROWS_AT_ONCE, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in batches, each of one row group.

    Arrow would keep the bytes of all row groups in memory, and cannot represent nested texts of two of them in one
    batch, where they have two dictionaries.
    """
    for number in range(file.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[number], columns=columns)


def schema_of(path: Path) -> pa.Schema:
    """Return the Arrow schema of a Parquet file. Raise UserError where it cannot be read."""
    with _reading(path, None):
        return pq.ParquetFile(path).schema_arrow


def rows_and_bytes(path: Path) -> tuple[int, int]:
    """Return the number of rows of a Parquet file, and its bytes. Raise UserError where it cannot be read."""
    with _reading(path, None):
        found = pq.ParquetFile(path).metadata
        return found.num_rows, sum(found.row_group(number).total_byte_size for number in range(found.num_row_groups))


def read_row(path: Path, row: int, columns: Sequence[str]) -> dict[str, Any]:
    """Return columns of one row of a Parquet file, which are counted from 0."""
    file = pq.ParquetFile(path)
    for number in range(file.num_row_groups):
        size = file.metadata.row_group(number).num_rows
        if row < size:
            found: dict[str, Any] = file.read_row_group(number, columns).slice(row, 1).to_pylist()[0]
            return found
        row -= size
    raise IndexError(f"{path}: no row {row}")


@contextmanager
def _reading(path: Path, limits: Limits | None) -> Iterator[None]:
    """Convert the errors of reading a file to UserError."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # the reader raises many kinds of errors for damaged files
        if limits and (isinstance(error, MemoryError) or "alloc of size" in str(error)):
            advice = limits.advice.format(key="megabytes")
            raise UserError(f"{path}: too large ({error}); {advice}") from None
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def _width(field: pq.ColumnSchema) -> int:
    """Return the bytes that a value of a Parquet column takes in decoding, excluding the characters of texts."""
    widths = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "BYTE_ARRAY": 4, "INT96": 12, "FIXED_LEN_BYTE_ARRAY": field.length}
    levels = (field.max_definition_level > 0) + (field.max_repetition_level > 0)
    return max(1, widths.get(field.physical_type, 8)) + 2 * levels


def decoded_size(batch: pa.RecordBatch) -> int:
    """Return the bytes of a batch with its dictionaries decoded."""
    return sum(map(_decoded_size, batch.columns))


def _decoded_size(array: pa.Array) -> int:
    """Return the bytes of an array with its dictionaries decoded."""
    if pa.types.is_dictionary(array.type):
        return pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0
    if pa.types.is_struct(array.type):
        return sum(map(_decoded_size, array.flatten()))
    if pa.types.is_list(array.type):
        return 8 * len(array) + _decoded_size(array.flatten())
    return array.nbytes
