"""The list of licences in a card, by what they are of, and which of them forbid commercial use."""

from collections.abc import Mapping
from typing import Any

from mothertongue.common.licences import is_noncommercial


def values(stated: Mapping[str, str | None], binding: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what stated_licences.md.jinja shows: all licences, and what is `binding` and forbids commercial use."""
    return {
        "licences": stated,
        "noncommercial": [name for name, licence in binding.items() if is_noncommercial(licence)],
    }
