"""Corrections and verdicts of people: what they change in a dataset, and the account of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.dataset.review import RANDOM, key_of
from mothertongue.dataset.verdicts import shares

# Reasons of messages: what a person did, or which objection a person overruled.
CORRECTED, WRONG, APPROVED = "corrected", "judged wrong", "approved: "
# Why a correction is refused.
_CHANGED = "the translation or its source has changed since"
_GONE = "the dataset has no such message"


@dataclass(frozen=True)
class Correction:
    """What a person said of a translation: the corrected text, a verdict, or both.

    `key` is that of the translation (see review.key_of), `where` the file and row, `why` the reason for which the
    message was in the sheet.
    """

    key: str
    message_id: str
    text: str | None
    verdict: str | None
    reviewer: str
    date: str
    why: str
    where: str

    @property
    def judged(self) -> str:
        """The verdict; a translation that was corrected without one counts as wrong."""
        return self.verdict or "wrong"


@dataclass(frozen=True)
class Applied:
    """The outcome of corrections: the changed shards, those in force by message, those refused with the reason."""

    shards: list[pa.Table]
    in_force: Mapping[str, Correction]
    refused: Sequence[tuple[Correction, str]]

    def changed(self) -> dict[str, str]:
        """Return the corrected texts of translations that have changed since, by message."""
        return {one.message_id: one.text or "" for one, why in self.refused if why == _CHANGED}


def apply(shards: Sequence[pa.Table], lang: str, corrections: Iterable[Correction]) -> Applied:
    """Apply corrections to the translated shards of a language.

    A corrected text replaces the translation: status `corrected`. A verdict of wrong without a text flags the message,
    one of good or acceptable takes the flags off. Corrections of a translation that has changed since, or of no message
    of the dataset, are refused. Raise UserError where two corrections of one translation differ.
    """
    merged = _merge(corrections)
    if not merged:
        return Applied(list(shards), {}, [])
    keys: dict[str, str] = {}
    for shard in shards:
        columns = (shard[name].to_pylist() for name in ("message_id", "source_text", "text"))
        keys |= {message: key_of(lang, message, source, text) for message, source, text in zip(*columns, strict=True)}
    current = {key: message for message, key in keys.items()}
    in_force = {current[key]: one for key, one in merged.items() if key in current}
    refused = [
        (one, _CHANGED if one.message_id in keys else _GONE) for key, one in merged.items() if key not in current
    ]
    return Applied([_applied(shard, in_force) for shard in shards], in_force, refused)


def _merge(corrections: Iterable[Correction]) -> dict[str, Correction]:
    """Return one correction for each key. Raise UserError where texts or verdicts of the same translation differ."""
    merged: dict[str, Correction] = {}
    for one in corrections:
        earlier = merged.setdefault(one.key, one)
        for kind in ("text", "verdict"):
            first, second = getattr(earlier, kind), getattr(one, kind)
            if None not in (first, second) and first != second:
                raise UserError(
                    f"{earlier.where} and {one.where}: two corrections of message {one.message_id} differ in their "
                    f"{kind}; keep one of them (no correction was applied)"
                )
        merged[one.key] = replace(earlier, text=earlier.text or one.text, verdict=earlier.verdict or one.verdict)
    return merged


def _applied(shard: pa.Table, in_force: Mapping[str, Correction]) -> pa.Table:
    """Return the shard with the corrections of its messages."""
    rows = shard.select(["message_id", "text", "status", "reasons", "score", "meaning"]).to_pylist()
    if not any(row["message_id"] in in_force for row in rows):
        return shard
    for row in rows:
        if row["message_id"] in in_force:
            row |= _change(row, in_force[row["message_id"]])
    for name in ("text", "status", "reasons", "score", "meaning"):
        field = shard.schema.field(name)
        column = pa.array([row[name] for row in rows], field.type)
        shard = shard.set_column(shard.schema.get_field_index(name), field, column)
    return shard


def _change(row: Mapping[str, Any], one: Correction) -> dict[str, Any]:
    """Return the values that a correction changes in a row."""
    if one.text is not None and one.text != row["text"]:
        who = ", ".join(filter(None, [one.reviewer, one.date]))
        reason = f"{CORRECTED}: {who}" if who else CORRECTED
        return {"text": one.text, "status": "corrected", "reasons": [reason], "score": None, "meaning": None}
    if one.judged == "wrong" and row["status"] != "failed":
        return {"status": "flagged", "reasons": [*row["reasons"], WRONG]}
    if one.judged != "wrong" and row["status"] == "flagged":
        return {"status": "translated", "reasons": [f"{APPROVED}{reason}" for reason in row["reasons"]]}
    return {}


def account(shards: Iterable[pa.Table], applied: Applied) -> dict[str, Any]:
    """Return the account of corrections, and the verdicts on the random sample.

    `shards` are the translations before the corrections. `corrected`, `approved` and `judged_wrong` count messages;
    `refused` lists file and row, message and reason. `sample` has the verdicts on the messages of the random sample, in
    total, by source language and by model: their number `n`, and for each verdict `value`, `low` and `high`, a share
    with the Wilson score interval of 95% (Wilson 1927).
    """
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    done = {CORRECTED: 0, "approved": 0, "judged_wrong": 0}
    for shard in shards:
        columns = ["message_id", "text", "status", "reasons", "source_lang", "model"]
        for row in shard.select(columns).to_pylist():
            if not (one := applied.in_force.get(row["message_id"])):
                continue
            status = _change(row, one).get("status")
            names = {"corrected": CORRECTED, "flagged": "judged_wrong", "translated": "approved"}
            if status:
                done[names[status]] += 1
            if one.why == RANDOM:
                for group in (("total", ""), ("by_source", row["source_lang"]), ("by_model", row["model"] or "none")):
                    groups[group].append(one.judged)
    sample: dict[str, Any] = {"total": shares(groups["total", ""]), "by_source": {}, "by_model": {}}
    for (kind, name), verdicts in sorted(groups.items()):
        if kind != "total":
            sample[kind][name] = shares(verdicts)
    refused = [{"where": one.where, "message_id": one.message_id, "reason": why} for one, why in applied.refused]
    return done | {"refused": refused, "sample": sample}
