"""Translations to look at beside their sources: good, flagged and failed ones, drawn by the hash of their id."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.formats.messages import hash_of

KINDS = ("translated", "flagged", "failed")
# Long enough to tell something, short enough to read; flagged and failed ones are shown whatever their length.
SHORTEST, LONGEST = 60, 500
CUT = 700


@dataclass(frozen=True)
class Example:
    """A message with its translation (none where it failed) and what the checks object to."""

    kind: str
    message_id: str
    source_text: str
    text: str | None
    reasons: tuple[str, ...]


def draw(rows: Iterable[Mapping[str, Any]], each: int = 2) -> dict[str, list[Example]]:
    """Up to `each` examples of every kind by source language; no one chooses which, and they stay the same."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        kind = row["status"]
        if kind in KINDS and (kind != "translated" or _readable(row)):
            groups.setdefault((row["source_lang"], kind), []).append(row)
    drawn: dict[str, list[Example]] = {}
    for (source, kind), found in sorted(groups.items(), key=lambda item: (item[0][0], KINDS.index(item[0][1]))):
        found = sorted(found, key=lambda row: hash_of(row["message_id"], "example"))[:each]
        drawn.setdefault(source, []).extend(
            Example(
                kind,
                row["message_id"],
                cut(row["source_text"]),
                row["text"] and cut(row["text"]),
                tuple(row["reasons"]),
            )
            for row in found
        )
    return drawn


def cut(text: str) -> str:
    """A text's beginning, as much as one reads of an example."""
    return text if len(text) <= CUT else text[:CUT].rstrip() + " …"


def _readable(row: Mapping[str, Any]) -> bool:
    return SHORTEST <= len(row["source_text"]) <= LONGEST and not row["reasons"]
