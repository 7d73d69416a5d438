"""Example translations beside their sources: translated, flagged and failed ones, drawn by the hash of their id.

A teacher's answer stands beside the reply that it replaces.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.formats.messages import TEACHER, hash_of

KINDS = ("translated", "answered", "flagged", "failed")
# Lengths of a translated example's source in characters; flagged and failed ones may have any length.
SHORTEST, LONGEST = 60, 500
CUT = 700
# Rows of a group that are held.
_MANY = 1_000


@dataclass(frozen=True)
class Example:
    """A message with its translation (None where it failed) and the objections of the checks.

    `answered`: a teacher was to write it.
    """

    kind: str
    message_id: str
    source_text: str
    text: str | None
    reasons: tuple[str, ...]
    answered: bool = False


def draw(rows: Iterable[Mapping[str, Any]], each: int = 2) -> dict[str, list[Example]]:
    """Return up to `each` examples of every kind by source language; drawn by hash, without a manual choice."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        kind = row["status"]
        if kind in KINDS and (kind not in ("translated", "answered") or _readable(row)):
            found = groups.setdefault((row["source_lang"], kind), [])
            found.append(row)
            if len(found) > _MANY:
                groups[row["source_lang"], kind] = _first(found, each)
    drawn: dict[str, list[Example]] = {}
    for (source, kind), found in sorted(groups.items(), key=lambda item: (item[0][0], KINDS.index(item[0][1]))):
        drawn.setdefault(source, []).extend(
            Example(
                kind,
                row["message_id"],
                cut(row["source_text"]),
                row["text"] and cut(row["text"]),
                tuple(row["reasons"]),
                row["route"] == TEACHER,
            )
            for row in _first(found, each)
        )
    return drawn


def cut(text: str) -> str:
    """Return a text, cut to CUT characters."""
    return text if len(text) <= CUT else text[:CUT].rstrip() + " …"


def _first(rows: Iterable[Mapping[str, Any]], each: int) -> list[Mapping[str, Any]]:
    return heapq.nsmallest(each, rows, key=lambda row: hash_of(row["message_id"], "example"))


def _readable(row: Mapping[str, Any]) -> bool:
    return SHORTEST <= len(row["source_text"]) <= LONGEST and not row["reasons"]
