"""The models that wrote what the assistant says, as cards name them."""

from collections.abc import Iterable, Mapping
from typing import Any

# The key of a card's header that has their names.
ANSWERED_BY = "answered_by"


def teachers_of(header: Mapping[str, Any]) -> list[str]:
    """Return the models that wrote what the assistant says, from the header of a dataset's card."""
    found = header.get(ANSWERED_BY)
    return [str(name) for name in found] if isinstance(found, list) else []


def values(teachers: Iterable[str]) -> dict[str, Any]:
    """Return the values that teachers.md.jinja renders."""
    return {"teachers": list(teachers)}
