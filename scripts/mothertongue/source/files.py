"""The rows of a dataset's files as objects by column: JSON Lines, JSON, Parquet, CSV and TSV, also compressed."""

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.formats.parquet import Limits, batches, decoded_size, schema_of
from mothertongue.source.dataset_reference import KINDS, SUFFIXES
from mothertongue.source.json_list import JsonList, TooLong

Row = dict[str, Any]

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Rows of Parquet files that are decoded at a time, and about how many of their bytes become Python objects at once.
_ROWS_AT_ONCE, _AT_ONCE = 500, 4_000_000
_END = object()
_UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class File:
    """A file of a dataset with its rows. `unit` is what the number of a row counts: `line` or `row`."""

    path: Path
    unit: str
    rows: Iterator[tuple[int, Row]]

    def where(self, number: int) -> str:
        """Return the place of a row, for messages."""
        return f"{self.path}: {self.unit} {number}"


# The row of a file that a message is of.
LINE = pa.field("line", pa.int64(), nullable=False)


def with_lines(table: pa.Table, lines: Sequence[int]) -> pa.Table:
    """Return messages with the column LINE."""
    return table.append_column(LINE, pa.array(lines, LINE.type))


def open_file(path: Path, limits: Limits, columns: Sequence[str] | None = None) -> File:
    """Open a file by its suffix. Iterating over its rows raises UserError, with the row, where it is not readable.

    Of a Parquet file only these columns are read, those that are there (default: all). The limits are checked before
    memory is allocated. Raise UserError where there is no such file, or of another kind.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: unknown kind of file (expected {KINDS})")
    kind = Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix or path.name
    if kind == ".parquet":
        return File(path, "row", _parquet_rows(path, limits, columns))
    if kind in (".csv", ".tsv"):
        return File(path, "row", _separated_rows(path, limits, tabs=kind == ".tsv"))
    if kind == ".json" and _is_list(path):
        return File(path, "row", _listed_rows(path, limits))
    return File(path, "line", _json_lines(path, limits))


def _json_lines(path: Path, limits: Limits) -> Iterator[tuple[int, Row]]:
    """Yield the line number and the object of each line of JSON Lines that is not empty."""
    number = full = 0
    try:
        with _decompressed(path) as file:
            while line := file.readline(limits.line + 1):
                number += 1
                where = f"{path}: line {number}"
                if len(line) > limits.line:
                    raise _too_long(where, limits)
                limits.count(where, bool(line.strip()), len(line))
                if number == 1:
                    _check_encoding(line, path)
                if not line.strip():
                    if number - full > limits.rows:
                        advice = limits.advice.format(key="rows")
                        raise UserError(f"{where}: more than {limits.rows:,} empty lines; {advice}")
                    continue
                full += 1
                yield number, _object(_parsed(line, where), where)
    except _UNREADABLE as error:
        raise UserError(f"{path}: cannot be read after line {number} ({error})") from None


def _listed_rows(path: Path, limits: Limits) -> Iterator[tuple[int, Row]]:
    """Yield the objects of a JSON file that is one list."""
    number = 0
    try:
        with _decompressed(path) as file:
            _check_encoding(file.peek(4096), path)
            rows = iter(JsonList(_Decoded(file, path, limits), limits.line))
            while True:
                where = f"{path}: row {number + 1}"
                with _json_errors(where):
                    if (row := next(rows, _END)) is _END:
                        return
                number += 1
                limits.count(where, 1, 0)
                yield number, _object(row, where)
    except TooLong:
        raise _too_long(f"{path}: row {number + 1}", limits) from None
    except _UNREADABLE as error:
        raise UserError(f"{path}: cannot be read after row {number} ({error})") from None


class _Decoded:
    """The text of a file, whose bytes are counted. Reading raises UserError where they are not UTF-8, or too many."""

    def __init__(self, file: io.BufferedReader, path: Path, limits: Limits) -> None:
        self._file, self._path, self._limits = file, path, limits
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._bytes = 0

    def read(self, size: int) -> str:
        """Return the text of about so many bytes; empty at the end of the file."""
        text = ""
        while not text:
            block = self._file.read(size)
            self._limits.count(str(self._path), 0, len(block))
            self._bytes += len(block)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # The decoder had what was left of the block before, too.
                place = self._bytes - len(error.object) + error.start
                raise UserError(f"{self._path}: not UTF-8 ({error.reason} at byte {place})") from None
            if not block:
                break
        return text


def _separated_rows(path: Path, limits: Limits, tabs: bool) -> Iterator[tuple[int, Row]]:
    """Yield the rows below the header of a file of separated values; an empty cell is null.

    The separator of .csv is a comma, or the semicolon that spreadsheets write in some countries, by the header.
    """
    number = 0
    csv.field_size_limit(limits.line)
    try:
        with _decompressed(path) as file:
            _check_encoding(file.peek(4096), path)
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            lines = _lines(text, path, limits)
            first = next(lines, "")
            separator = "\t" if tabs else max(",;", key=first.count)
            reader = csv.reader(chain([first], lines), delimiter=separator, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if twice := next((name for name in header if header.count(name) > 1), None):
                raise UserError(f"{path}: column '{twice}' is there twice")
            for number, cells in enumerate(filter(None, reader), start=1):  # without empty lines
                where = f"{path}: row {number}"
                limits.count(where, 1, sum(map(len, cells)))
                if len(cells) > len(header):
                    raise UserError(
                        f"{where}: {len(cells)} cells, and the header has {len(header)}; put texts in quotation marks "
                        "where the separator is in them"
                    )
                yield number, {name: cell or None for name, cell in zip(header, cells, strict=False)}
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}) after row {number}; save it as UTF-8") from None
    except (csv.Error, *_UNREADABLE) as error:
        raise UserError(f"{path}: cannot be read after row {number} ({error})") from None


def _lines(text: io.TextIOWrapper, path: Path, limits: Limits) -> Iterator[str]:
    """Yield the lines of a text file, with their ends. Raise UserError at one that is longer than the limit."""
    number = 0
    while line := text.readline(limits.line + 1):
        number += 1
        if len(line) > limits.line:
            raise _too_long(f"{path}: line {number}", limits)
        yield line


def _parquet_rows(path: Path, limits: Limits, columns: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
    names = schema_of(path).names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path}: column '{twice}' is there twice")
    for before, batch in batches(path, limits, columns, _ROWS_AT_ONCE):
        # Large rows become objects one by one.
        step = max(1, min(len(batch), len(batch) * _AT_ONCE // max(1, decoded_size(batch))))
        for start in range(0, len(batch), step):
            try:
                rows = batch.slice(start, step).to_pylist()
            except (UnicodeDecodeError, ValueError, OverflowError):
                raise _unreadable_value(path, batch, before) from None
            yield from enumerate(rows, start=before + start + 1)


def _unreadable_value(path: Path, batch: pa.RecordBatch, before: int) -> UserError:
    """Return the error for the first value of a batch that cannot become an object."""
    for row in range(len(batch)):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            where = f"{path}: row {before + row + 1}: column '{name}'"
            try:
                column[row].as_py()
            except UnicodeDecodeError:
                return UserError(f"{where}: not UTF-8")
            except (ValueError, OverflowError) as error:
                return UserError(f"{where}: a value that cannot be read ({error})")
    raise AssertionError("a batch fails as a whole but not in any row")


def _too_long(where: str, limits: Limits) -> UserError:
    return UserError(f"{where}: longer than {limits.line / 1e6:,.0f} MB; {limits.advice.format(key='line_megabytes')}")


def _is_list(path: Path) -> bool:
    """Return whether a JSON file is one list, and not JSON Lines."""
    try:
        with _decompressed(path) as file:
            return file.peek(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except _UNREADABLE as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _decompressed(path: Path) -> io.BufferedReader:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.GzipFile(path))
    if path.suffix == ".zst":
        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    return path.open("rb")


def _check_encoding(start: bytes, path: Path) -> None:
    """Raise UserError where a file begins as UTF-16 does."""
    if start.startswith(_UTF16) or b"\0" in start:
        raise UserError(f"{path}: not UTF-8, but perhaps UTF-16; save it as UTF-8")


def _parsed(content: bytes, where: str) -> Any:
    with _json_errors(where):
        return json.loads(content.decode("utf-8-sig"))


@contextmanager
def _json_errors(where: str) -> Iterator[None]:
    """Convert the errors of decoding JSON to UserError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise UserError(f"{where}: not JSON ({error.msg} at {place})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON that can be read ({error})") from None


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a JSON object")
    return value
