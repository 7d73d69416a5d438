"""The format `messages`: a list of objects with role and content, as OpenAI's interface and ChatML have them."""

from typing import Any

from mothertongue.source.conversations import Conversation, Turn, Unreadable, turn_of
from mothertongue.source.files import Row

FIELDS = {"messages": ("messages", "conversations", "conversation"), "system": ("system", "system_prompt")}


def fits(row: Row) -> bool:
    """Return whether a row has such a list."""
    return is_chat(row.get("messages"))


def conversation(row: Row) -> Conversation:
    """Return the conversation of a row. Raise Unreadable where it is none."""
    return Conversation([[*system_turns(row.get("system")), *turns_of(required(row, "messages"))]])


def required(row: Row, field: str) -> Any:
    """Return a value that every row has, if only null. Raise Unreadable where the row has no such column."""
    if field not in row:
        raise Unreadable(f"it has no column for '{field}'")
    return row[field]


def is_chat(value: Any) -> bool:
    """Return whether a value is a list of objects with role and content."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "role" in one for one in value)


def turns_of(value: Any) -> list[Turn]:
    """Return the turns of a list of messages; none of null. Raise Unreadable where one has no role or no content."""
    if not isinstance(value, list | None):
        raise Unreadable("expected a list of messages")
    turns = []
    for number, one in enumerate(value or (), start=1):
        if not isinstance(one, dict) or one.get("role") is None:
            raise Unreadable(f"message {number} has no role")
        calls = one.get("tool_calls") or one.get("function_call")
        if "content" not in one and not calls:
            raise Unreadable(f"message {number} has no content")
        turns.append(turn_of(one["role"], one.get("content"), calls))
    return turns


def system_turns(text: Any) -> list[Turn]:
    """Return the system message that stands in a column of its own; none where it is empty."""
    return [turn_of("system", text)] if text else []
