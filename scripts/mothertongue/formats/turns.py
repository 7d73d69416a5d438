"""Turns of a conversation, as files have them: who speaks, and what."""

from typing import Any

ROLES = ("system", "user", "assistant")
# What a value is said not to be that `are_turns` refuses.
EXPECTED = f"a list of role ({', '.join(ROLES)}) and content"


def are_turns(value: Any) -> bool:
    """Whether a value read from JSON is a list of turns, which may be empty."""
    return isinstance(value, list) and all(
        isinstance(turn, dict) and turn.get("role") in ROLES and isinstance(turn.get("content"), str) for turn in value
    )
