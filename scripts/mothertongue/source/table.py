"""The format `table`: a spreadsheet with a question and its answer in columns that the configuration names."""

from typing import Any

from mothertongue.source import pairs
from mothertongue.source.conversations import Conversation
from mothertongue.source.files import Row

# No column is known by itself: `source.columns` names them.
FIELDS: dict[str, tuple[str, ...]] = dict.fromkeys(pairs.FIELDS, ())


def fits(row: Row) -> bool:
    """Return whether a row has both columns, of which one may be empty."""
    return {"prompt", "reply"} <= row.keys()


def conversation(row: Row) -> Conversation:
    """Return the conversation of a row, in which numbers are text.

    Raise Unreadable where a cell is neither text, a number nor a list of messages.
    """
    return pairs.conversation({name: _as_text(value) for name, value in row.items()})


def _as_text(value: Any) -> Any:
    """Return a number as text, a whole one without a fraction: pandas writes 42 as 42.0 where other cells are empty."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value) if value % 1 == 0 else value)
