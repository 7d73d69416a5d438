"""Tables that do not fit in memory, divided into files of which each does."""

import resource
import shutil
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mothertongue.formats.parquet import rows_and_bytes

# Rows, and bytes, of a file on average at most, and files: those that are merged are open together.
_ROWS, _BYTES, _FILES = 50_000, 128_000_000, 500
# Rows, and bytes, that wait to be written together.
_WAITING_ROWS, _WAITING_BYTES = 50_000, 64_000_000
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")

Numbers = npt.NDArray[np.int64]


def partitions_for(rows: int, size: int) -> int:
    """Return the number of partitions for so many rows and bytes, at least 1."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if allowed == resource.RLIM_INFINITY else min(_FILES, max(1, allowed // 2))
    return min(most, max(1, -(-rows // _ROWS), -(-size // _BYTES)))


def partitions_of(path: Path) -> int:
    """Return the number of partitions for the rows of a Parquet file."""
    return partitions_for(*rows_and_bytes(path))


def buckets(keys: Iterable[str], count: int) -> Numbers:
    """Return the number of the partition of each row: rows with the same key are in the same one."""
    return np.array([zlib.crc32(key.encode()) % count for key in keys], np.int64)


class Partitions:
    """Files that rows are written to by number, in a new folder that is removed at the end. No file is held open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[tuple[pa.Table, Numbers]] = []
        self._rows = self._bytes = 0  # of the waiting tables

    def __enter__(self) -> Self:
        self._folder.mkdir()
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, table: pa.Table, numbers: Numbers) -> None:
        """Add rows, each to the partition with its number."""
        if len(table):
            self._waiting.append((table, numbers))
            self._rows += len(table)
            self._bytes += table.nbytes
        if self._rows >= _WAITING_ROWS or self._bytes >= _WAITING_BYTES:
            self._flush()

    def append(self, table: pa.Table, number: int, rows: int | None = None) -> None:
        """Add rows to one partition at once; reading yields at most `rows` of them at a time."""
        with self._path(number).open("ab") as file, pa.ipc.new_stream(file, table.schema, options=_COMPRESSED) as out:
            out.write_table(table, max_chunksize=rows)

    def read(self, number: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a partition, in the order in which they were written."""
        self._flush()
        path = self._path(number)
        if not path.exists():
            return
        with path.open("rb") as file:
            while file.peek(1):
                yield from pa.ipc.open_stream(file)

    def remove(self, number: int) -> None:
        """Remove the file of a partition."""
        self._path(number).unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(waiting for waiting, _ in self._waiting)
        numbers = np.concatenate([numbers for _, numbers in self._waiting])
        self._waiting, self._rows, self._bytes = [], 0, 0
        order = np.argsort(numbers, kind="stable")
        table, numbers = table.take(pa.array(order)), numbers[order]
        found, starts = np.unique(numbers, return_index=True)
        for number, (start, end) in zip(found, pairwise([*starts, len(numbers)]), strict=True):
            self.append(table.slice(start, end - start), number)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"
