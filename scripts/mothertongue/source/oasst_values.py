"""The values of OASST's columns, converted to Arrow with no coercion that would change one."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.formats.messages import OASST
from mothertongue.source.files import Row

_MISFITS = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError)


def column(field: pa.Field, rows: Sequence[Row], lines: Sequence[int], where: str, unit: str) -> pa.Array:
    """Return one column of the rows. Raise UserError naming the line of a wrong or missing value."""
    values = [_value(field, row.get(field.name)) for row in rows]
    if field.nullable or None not in values:
        try:
            return _array(values, field.type)
        except _MISFITS:
            pass
    for line, value in zip(lines, (row.get(field.name) for row in rows), strict=True):
        if value is None and not field.nullable:
            raise UserError(f"{where}: {unit} {line}: column '{field.name}' is missing or null")
        try:
            _array([_value(field, value)], field.type)
        except UnicodeEncodeError as error:
            half = error.object[error.start : error.start + 1]
            raise UserError(
                f"{where}: {unit} {line}: column '{field.name}': half of a surrogate pair ({ascii(half)[1:-1]}), which "
                "is not a character"
            ) from None
        except _MISFITS:
            raise UserError(
                f"{where}: {unit} {line}: column '{field.name}': expected {_plain(field.type)}, "
                f"found {json.dumps(value)[:60]}"
            ) from None
    raise AssertionError(f"{where}: column {field.name} fails as a whole but not in any line")


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Convert Python values to an Arrow array without Arrow's coercions of 1.5 to 1 and true to 1.0.

    Raise one of _MISFITS where a value does not have the type.
    """
    if not _are_numbers(values, kind):
        raise TypeError("a fraction where a whole number is expected, or a truth value where a number is")
    if pa.types.is_struct(kind) and not all(value is None or _is_known(value, kind) for value in values):
        raise TypeError("keys that the column has not, which Arrow would leave out")
    return pa.array(values, type=kind)


def with_lists(table: pa.Table, where: str, before: int) -> pa.Table:
    """Return a part of a Parquet file with labels and emojis as structs of lists, converted from fields by name."""
    for field in OASST:
        if not pa.types.is_struct(field.type) or table.column_names.count(field.name) != 1:
            continue
        found = table[field.name].type
        if not pa.types.is_struct(found) or set(found.names) <= set(field.type.names):
            continue
        # A field missing in a row is null.
        rows = [value and {k: v for k, v in value.items() if v is not None} for value in table[field.name].to_pylist()]
        numbers = range(before + 1, before + 1 + len(rows))
        converted = column(field, [{field.name: row} for row in rows], numbers, where, "row")
        table = table.set_column(table.column_names.index(field.name), field, converted)
    return table


def _value(field: pa.Field, value: Any) -> Any:
    """Convert a value to its column's format: labels and emojis keyed by name to lists, pandas's NaN to null."""
    if isinstance(value, float) and math.isnan(value) and field.nullable:
        return None
    if not isinstance(value, dict) or not pa.types.is_struct(field.type) or field.type.names[0] != "name":
        return value
    _, *parts = field.type.names
    if not value or value.keys() <= set(field.type.names):
        return value
    # {"spam": {"value": 0.0, "count": 3}}, and {"+1": 2}
    details = [given if isinstance(given, dict) else {parts[0]: given} for given in value.values()]
    if any(detail.keys() != set(parts) for detail in details):
        return value
    return {"name": list(value)} | {part: [detail[part] for detail in details] for part in parts}


def _are_numbers(values: list[Any], kind: pa.DataType) -> bool:
    """Return whether integer columns have no fractions and float columns no truth values."""
    if pa.types.is_integer(kind):
        return not any(isinstance(value, float) and value % 1 for value in values)
    return not pa.types.is_floating(kind) or not any(isinstance(value, bool) for value in values)


def _is_known(value: Any, kind: pa.DataType) -> bool:
    """Return whether a value has only the column's keys, lists of equal length, and numbers of the column's types."""
    if not isinstance(value, dict) or not value.keys() <= set(kind.names):
        return False
    sizes = set()
    for name, part in value.items():
        wanted = kind.field(name).type
        if isinstance(part, list):
            sizes.add(len(part))
        if not _are_numbers(part if isinstance(part, list) else [part], getattr(wanted, "value_type", wanted)):
            return False
    return len(sizes) <= 1


def _plain(kind: pa.DataType) -> str:
    names = {"string": "text", "int32": "a whole number", "bool": "true or false"}
    return names.get(str(kind), f"an object with {', '.join(kind.names)}" if pa.types.is_struct(kind) else str(kind))
