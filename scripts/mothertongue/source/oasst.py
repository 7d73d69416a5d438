"""The format `oasst`: a message in each row, with the 18 columns of OASST1 and OASST2."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.common.progress import first, log
from mothertongue.formats.messages import OASST, ROLES, check_language_tags, check_vocabulary, parquet_parts
from mothertongue.formats.parquet import Limits, schema_of
from mothertongue.source.conversations import Unreadable
from mothertongue.source.files import File, Row, with_lines
from mothertongue.source.oasst_values import column, with_lists

# Bytes of rows that are held as Python objects at a time.
_AT_ONCE = 16_000_000


def fits(row: Row) -> bool:
    """Return whether a row is a message of OASST."""
    return {"message_id", "parent_id", "text"} <= row.keys()


def read(file: File, limits: Limits) -> Iterator[pa.Table]:
    """Yield the OASST columns of a file with a message in each row, and the row of each, in parts.

    Drop other columns and log their names. Labels and emojis may also have the official export's format, objects keyed
    by name. Raise UserError naming file, row and column.
    """
    if file.path.suffix != ".parquet":
        yield from read_messages(file, limits, lambda row: [row])
        return
    before = 0
    for table in parquet_parts(file.path, OASST, limits, with_lists):
        yield _checked(table, range(before + 1, before + len(table) + 1), file)
        before += len(table)
    _check_end(file, before, schema_of(file.path).names)


def read_messages(file: File, limits: Limits, messages: Callable[[Row], Iterable[Row]]) -> Iterator[pa.Table]:
    """Yield the OASST columns of the messages in each row of a file, as `messages` returns them; see `read`."""
    keys: dict[str, None] = {}
    count = 0
    for numbers, rows in _parts(file, limits, messages):
        for row in rows:
            keys |= dict.fromkeys(row)
        columns = [column(field, rows, numbers, str(file.path), file.unit) for field in OASST]
        yield _checked(pa.table(columns, schema=OASST), numbers, file)
        count += len(rows)
    for name in OASST.names if count else ():
        if name not in keys:
            raise UserError(f"{file.path}: column '{name}' is missing")
    _check_end(file, count, list(keys))


def _parts(
    file: File, limits: Limits, messages: Callable[[Row], Iterable[Row]]
) -> Iterator[tuple[list[int], list[Row]]]:
    """Yield messages, with the numbers of their rows, in parts of some megabytes."""
    numbers: list[int] = []
    rows: list[Row] = []
    read = limits.size_read
    for number, row in file.rows:
        try:
            found = list(messages(row))
        except Unreadable as error:
            raise UserError(f"{file.where(number)}: {error}") from None
        limits.count(file.where(number), len(found) - 1, 0)
        rows += found
        numbers += [number] * len(found)
        if limits.size_read - read > _AT_ONCE:
            yield numbers, rows
            numbers, rows, read = [], [], limits.size_read
    yield numbers, rows


def _checked(table: pa.Table, lines: Sequence[int], file: File) -> pa.Table:
    """Return messages with their rows. Raise UserError for an unknown role or a malformed lang."""
    check_vocabulary(table["role"].to_pylist(), ROLES, "role", str(file.path), lines, file.unit)
    check_language_tags(table["lang"].to_pylist(), lines, str(file.path), file.unit)
    return with_lines(table, lines)


def _check_end(file: File, count: int, names: Sequence[str]) -> None:
    """Log what was left out of a file with these columns. Raise UserError where it had no messages."""
    if not count:
        raise UserError(f"{file.path}: no messages in it")
    if unknown := [name for name in names if name not in OASST.names]:
        log(f"fetch: {file.path}: left out, no columns of OASST: {first(list(map(repr, unknown)))}")
