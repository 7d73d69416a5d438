"""The format `oasst-trees`: a whole tree in each row, as the official export of OASST1 and OASST2 has them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from mothertongue.formats.messages import OASST
from mothertongue.formats.parquet import Limits
from mothertongue.source import oasst
from mothertongue.source.conversations import Unreadable
from mothertongue.source.files import File, Row

# What a message of the export has besides the columns: its replies, and events, which are no part of the dataset.
_MORE = ("replies", "events")


def fits(row: Row) -> bool:
    """Return whether a row is a tree of OASST."""
    return isinstance(prompt := row.get("prompt"), dict) and {"message_id", "text", "role"} <= prompt.keys()


def read(file: File, limits: Limits) -> Iterator[pa.Table]:
    """Yield the messages of a file with a tree in each row, in parts. Raise UserError naming file, row and column."""
    return oasst.read_messages(file, limits, _messages)


def _messages(row: Row) -> Iterator[Row]:
    """Yield the messages of a tree, each before its replies. Raise Unreadable where one is no object."""
    shared = {"message_tree_id": row.get("message_tree_id"), "tree_state": row.get("tree_state")}
    waiting: list[tuple[Any, str | None]] = [(row.get("prompt"), None)]
    while waiting:
        message, parent = waiting.pop()
        replies = message.get("replies") or [] if isinstance(message, dict) else None
        if not isinstance(replies, list):
            raise Unreadable("a message of the tree is not an object, or its replies are no list")
        # A column that the export leaves out where it is null.
        own = dict.fromkeys(OASST.names) | {key: value for key, value in message.items() if key not in _MORE}
        yield own | {"parent_id": parent} | {key: own[key] or value for key, value in shared.items()}
        waiting += [(reply, message.get("message_id")) for reply in reversed(replies)]
