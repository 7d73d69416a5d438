"""The list of licences in a card, by component, with those that forbid commercial use."""

from collections.abc import Mapping
from typing import Any

from mothertongue.common.licences import is_noncommercial


def values(stated: Mapping[str, str | None], binding: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the values that stated_licences.md.jinja renders.

    These are all licences, and the names in `binding` whose licences forbid commercial use.
    """
    return {
        "licences": stated,
        "noncommercial": [name for name, licence in binding.items() if is_noncommercial(licence)],
    }


def of_taught(model: str, licence: str | None, teachers: Mapping[str, str | None]) -> dict[str, Any] | None:
    """Return the same for a base model and the teachers of what it learned; None without a teacher."""
    if not teachers:
        return None
    return values({f"base model {model}": licence} | dict(teachers), {model: licence} | dict(teachers))
