"""The formats of datasets: which one a file has, by its first rows, and where its columns are."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.progress import first
from mothertongue.source import alpaca, messages, oasst, oasst_trees, pairs, preference, sharegpt, table
from mothertongue.source.conversations import is_missing
from mothertongue.source.files import Row

# By message or by tree: read as they are. By conversation: of each row one is made. In the order in which they are
# tried; a row may fit several.
BY_MESSAGE: Mapping[str, ModuleType] = {"oasst": oasst, "oasst-trees": oasst_trees}
BY_CONVERSATION: Mapping[str, ModuleType] = {
    "preference": preference,
    "messages": messages,
    "sharegpt": sharegpt,
    "alpaca": alpaca,
    "pairs": pairs,
    "table": table,
}
# Columns that every format of conversations may have.
SHARED = {"id": ("id", "conversation_id", "conversation_hash", "uuid"), "language": ("language", "lang")}

Names = Mapping[str, Sequence[str]]


def detect(rows: Sequence[Row], columns: Mapping[str, str], where: str) -> str:
    """Return the format that most of the rows fit. Raise UserError where none does, or a named column is not there."""
    _check_columns(columns, rows, where)
    fitting = {name: sum(map(module.fits, rows)) for name, module in BY_MESSAGE.items() if not columns}
    for name, module in BY_CONVERSATION.items():
        own = {field: column for field, column in columns.items() if field in module.FIELDS}
        if own or name != "table":
            names = _names(module.FIELDS, own)
            fitting[name] = sum(module.fits(values(row, names)) for row in rows)
    best = max(fitting, key=lambda name: fitting[name])
    if not fitting[best]:
        found = first(list(map(repr, keys_of(rows))))
        raise UserError(f"{where}: no format fits its columns ({found}); name them by source.columns")
    return best


def names_of(name: str, rows: Sequence[Row], columns: Mapping[str, str], where: str) -> Names:
    """Return the names of a format's columns by what they hold, the first that a row has is read.

    `columns` names some of them, empty for one that is not to be read. Raise UserError where it names something that
    the format has not, or a column that no first row has.
    """
    fields = BY_CONVERSATION[name].FIELDS | SHARED
    if unknown := [field for field in columns if field not in fields]:
        raise UserError(f"source.columns.{unknown[0]}: the format {name} has {', '.join(fields)}")
    _check_columns(columns, rows, where)
    return _names(fields, columns)


def values(row: Row, names: Names) -> Row:
    """Return the values of a row by what they are, for the columns that it has; NaN is null."""
    found: dict[str, Any] = {}
    for field, known in names.items():
        if (column := next((name for name in known if name in row), None)) is not None:
            found[field] = None if is_missing(row[column]) else row[column]
    return found


def located(rows: Iterable[Row], names: Names) -> dict[str, str]:
    """Return the columns that rows have by what they hold, the first name of each."""
    there = keys_of(rows)
    found = {field: next((name for name in known if name in there), "") for field, known in names.items()}
    return {field: column for field, column in found.items() if column}


def keys_of(rows: Iterable[Row]) -> dict[str, None]:
    """Return the columns of rows in the order of their first use."""
    return {key: None for row in rows for key in row}


def _check_columns(columns: Mapping[str, str], rows: Sequence[Row], where: str) -> None:
    there = keys_of(rows)
    for field, column in columns.items():
        if column and column not in there:
            raise UserError(f"{where}: source.columns.{field}: no column '{column}' (it has {first(list(there))})")


def _names(fields: Names, columns: Mapping[str, str]) -> Names:
    return {**fields, **{field: [column] if column else [] for field, column in columns.items()}}
