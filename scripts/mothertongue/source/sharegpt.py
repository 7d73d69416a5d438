"""The format `sharegpt`: `conversations`, a list of objects with `from` and `value`."""

from typing import Any

from mothertongue.source.conversations import Conversation, Unreadable, turn_of
from mothertongue.source.files import Row
from mothertongue.source.messages import required, system_turns

FIELDS = {"conversations": ("conversations", "conversation"), "system": ("system", "system_prompt")}


def fits(row: Row) -> bool:
    """Return whether a row has such a list."""
    turns = row.get("conversations")
    return isinstance(turns, list) and bool(turns) and all(isinstance(one, dict) and "from" in one for one in turns)


def conversation(row: Row) -> Conversation:
    """Return the conversation of a row. Raise Unreadable where it is none."""
    given: Any = required(row, "conversations")
    if not isinstance(given, list | None):
        raise Unreadable("expected a list of turns")
    turns = system_turns(row.get("system"))
    for number, one in enumerate(given or (), start=1):
        for key in ("from", "value"):
            if not isinstance(one, dict) or key not in one:
                raise Unreadable(f"turn {number} has no '{key}'")
        turns.append(turn_of(one["from"], one["value"]))
    return Conversation([turns])
