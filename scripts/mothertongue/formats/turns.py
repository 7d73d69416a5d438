"""Turns of a conversation in JSON files: role and content."""

from typing import Any

ROLES = ("system", "user", "assistant")
# The expected format in error messages about values that `are_turns` rejects.
EXPECTED = f"a list of role ({', '.join(ROLES)}) and content"


def are_turns(value: Any) -> bool:
    """Return whether a value read from JSON is a list of turns, which may be empty."""
    return isinstance(value, list) and all(
        isinstance(turn, dict) and turn.get("role") in ROLES and isinstance(turn.get("content"), str) for turn in value
    )
