"""The part of a card that asks a model, from the prompt to the printed answer, as the project asks it."""

from collections.abc import Mapping
from typing import Any


def values(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what the template answer.md.jinja needs of a training.json; older ones have no beginning and end."""
    return {
        "system_prompt": record["system_prompt"],
        "beginning": record.get("beginning"),
        "end_of_turn": record.get("end_of_turn"),
    }
