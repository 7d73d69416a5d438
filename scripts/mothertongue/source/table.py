"""The format `table`: a spreadsheet with a question and its answer in columns that the configuration names."""

from mothertongue.source import pairs
from mothertongue.source.conversations import Conversation
from mothertongue.source.files import Row

# No column is known by itself: `source.columns` names them.
FIELDS: dict[str, tuple[str, ...]] = dict.fromkeys(pairs.FIELDS, ())


def fits(row: Row) -> bool:
    """Return whether a row has both columns, of which one may be empty."""
    return {"prompt", "reply"} <= row.keys()


def conversation(row: Row) -> Conversation:
    """Return the conversation of a row. Raise Unreadable where a cell is neither text nor a list of messages."""
    return pairs.conversation(
        {name: str(value) if isinstance(value, int | float) else value for name, value in row.items()}
    )
