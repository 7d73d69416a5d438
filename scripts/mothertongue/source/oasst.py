"""The format `oasst`: a message in each row, with the 18 columns of OASST1 and OASST2."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.errors import UserError
from mothertongue.common.progress import first, log
from mothertongue.formats.messages import OASST, ROLES, check_language_tags, check_vocabulary, read_parquet
from mothertongue.formats.parquet import Limits, schema_of
from mothertongue.source.conversations import Unreadable
from mothertongue.source.files import File, Row
from mothertongue.source.oasst_values import column, with_lists
from mothertongue.source.splits import check_unique

# Values that programs write for a missing parent.
_NO_PARENT = frozenset({"", "none", "nan", "null", "<na>"})
# Bytes of rows that are held as Python objects at a time.
_AT_ONCE = 16_000_000


def fits(row: Row) -> bool:
    """Return whether a row is a message of OASST."""
    return {"message_id", "parent_id", "text"} <= row.keys()


def read(file: File, limits: Limits) -> pa.Table:
    """Return the OASST columns of a file with a message in each row; drop other columns and log their names.

    Labels and emojis may also have the official export's format, objects keyed by name. Parents in _NO_PARENT, such as
    "", "None" and "nan", are read as null. Raise UserError naming file, row and column.
    """
    if file.path.suffix != ".parquet":
        return read_messages(file, limits, lambda row: [row])
    table = read_parquet(file.path, OASST, limits, with_lists)
    return _checked(table, range(1, len(table) + 1), schema_of(file.path).names, file)


def read_messages(file: File, limits: Limits, messages: Callable[[Row], Iterable[Row]]) -> pa.Table:
    """Return the OASST columns of the messages in each row of a file, as `messages` returns them; see `read`."""
    parts: list[pa.Table] = [OASST.empty_table()]
    lines: list[int] = []
    keys: dict[str, None] = {}
    for numbers, rows in _parts(file, limits, messages):
        for row in rows:
            keys |= dict.fromkeys(row)
        columns = [column(field, rows, numbers, str(file.path), file.unit) for field in OASST]
        parts.append(pa.table(columns, schema=OASST))
        lines += numbers
    for name in OASST.names if lines else ():
        if name not in keys:
            raise UserError(f"{file.path}: column '{name}' is missing")
    return _checked(pa.concat_tables(parts), lines, list(keys), file)


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


def _checked(table: pa.Table, lines: Sequence[int], names: Sequence[str], file: File) -> pa.Table:
    """Return the messages of a file whose columns have these names, once they are checked."""
    where = str(file.path)
    if not len(table):
        raise UserError(f"{where}: no messages in it")
    if unknown := [name for name in names if name not in OASST.names]:
        log(f"fetch: {where}: left out, no columns of OASST: {first(list(map(repr, unknown)))}")
    table = _with_roots(table, where)
    _check(table, lines, where, file.unit)
    return table


def _check(table: pa.Table, lines: Sequence[int], where: str, unit: str) -> None:
    """Raise UserError for an unknown role, a malformed lang, a duplicate message_id, or parents that form no tree."""
    check_vocabulary(table["role"].to_pylist(), ROLES, "role", where, lines, unit)
    check_language_tags(table["lang"].to_pylist(), lines, where, unit)
    ids, parents = table["message_id"].to_pylist(), table["parent_id"].to_pylist()
    check_unique(ids, lines, where, unit)
    line_of = dict(zip(ids, lines, strict=True))
    parent_of = dict(zip(ids, parents, strict=True))
    tree_of = dict(zip(ids, table["message_tree_id"].to_pylist(), strict=True))
    sound: set[str] = set()
    for message in ids:
        path: dict[str, None] = {}
        node: str | None = message
        while node is not None and node in parent_of and node not in sound:
            if node in path:
                raise UserError(
                    f"{where}: {unit} {line_of[node]}: message {node} is its own ancestor (parent_id cycle)"
                )
            path[node] = None
            parent = parent_of[node]
            if parent in tree_of and tree_of[parent] != tree_of[node]:
                raise UserError(
                    f"{where}: {unit} {line_of[node]}: message_tree_id of {node} is not that of its parent {parent}"
                )
            node = parent
        sound.update(path)


def _with_roots(table: pa.Table, where: str) -> pa.Table:
    """Return the table with parents such as "", "None" or "nan" replaced by null, the value of roots; log how many."""
    parents = table["parent_id"]
    kinds = pc.unique(parents).to_pylist()
    names = [name for name in kinds if name is not None and name.strip().lower() in _NO_PARENT]
    none = pc.is_in(parents, pa.array(names, pa.string()))
    # A message_id may be one of these values.
    if not names or pc.any(pc.is_in(table["message_id"], pa.array(names, pa.string()))).as_py():
        return table
    written = first(list(map(repr, sorted(names))))
    log(f"fetch: {where}: parent_id of {pc.sum(none).as_py():,} messages is read as null, was {written}")
    parents = pc.if_else(none, pa.scalar(None, pa.string()), parents)
    return table.set_column(table.column_names.index("parent_id"), OASST.field("parent_id"), parents)
