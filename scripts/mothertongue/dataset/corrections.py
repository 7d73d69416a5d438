"""Corrections and verdicts of people: what they change in a dataset, and the account of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.errors import UserError
from mothertongue.dataset.reasons import APPROVED, CORRECTED, WRONG, may_object
from mothertongue.dataset.review import Row, by_model, first_at_random, key_of
from mothertongue.dataset.verdicts import shares
from mothertongue.formats.messages import TEACHER

# Why a correction is refused.
_CHANGED = "the translation or its source has changed since"
_GONE = "the dataset has no such message"
_OTHER = "its key is of another message; were single columns sorted?"
_EDITED = "the translation beside it was edited; write into `corrected` instead"
_NOTHING = "there is no translation to judge; write the corrected text"
# What no check objects to, of what a model wrote.
_UNFLAGGED = ("translated", "answered")
# The columns that a correction changes.
_CORRECTED = ("text", "status", "reasons", "score", "meaning")


@dataclass(frozen=True)
class Correction:
    """What a person said of a translation: the corrected text, a verdict, or both.

    `key` is that of the translation (see review.key_of), `where` the file and row. `shown` is the translation as the
    sheet shows it, None where that is unknown.
    """

    key: str
    message_id: str
    text: str | None
    verdict: str | None
    reviewer: str
    date: str
    shown: str | None
    where: str

    @property
    def judged(self) -> str:
        """The verdict; a translation that was corrected without one counts as wrong."""
        return self.verdict or "wrong"


@dataclass(frozen=True)
class Applied:
    """The outcome of corrections: those in force by message, and those refused with the reason."""

    in_force: Mapping[str, Correction]
    refused: Sequence[tuple[Correction, str]]

    def correct(self, table: pa.Table) -> pa.Table:
        """Return translations with the corrections in force.

        A corrected text replaces the translation: status `corrected`. A verdict of wrong without a text flags the
        message, one of good or acceptable takes the flags off.
        """
        ids = pa.array(list(self.in_force), pa.string())
        if not pc.any(pc.is_in(table["message_id"], ids)).as_py():
            return table
        rows = table.select(["message_id", "route", *_CORRECTED]).to_pylist()
        for row in rows:
            if row["message_id"] in self.in_force:
                row |= _change(row, self.in_force[row["message_id"]])
        for name in _CORRECTED:
            column = pa.array([row[name] for row in rows], table.schema.field(name).type)
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
        return table

    def changed(self) -> dict[str, str]:
        """Return the corrected texts of translations that have changed since, by message."""
        return {one.message_id: one.text or "" for one, why in self.refused if why == _CHANGED}


def apply(shards: Iterable[pa.Table], lang: str, corrections: Iterable[Correction]) -> Applied:
    """Return which corrections apply to the translated shards of a language, or to parts of these.

    Corrections of a translation that has changed since, of no message of the dataset, and such as cannot be meant are
    refused. Raise UserError where two corrections of one translation differ.
    """
    merged = _merge(corrections)
    wanted = {one.message_id for one in merged.values()}
    rows: dict[str, Mapping[str, Any]] = {}
    keys: dict[str, str] = {}
    for shard in shards if merged else ():
        for row in shard.select(["message_id", "source_text", "text", "status"]).to_pylist():
            key = key_of(lang, row["message_id"], row["source_text"], row["text"])
            if key in merged or row["message_id"] in wanted:
                rows[row["message_id"]] = row
                keys[key] = row["message_id"]
    in_force: dict[str, Correction] = {}
    refused: list[tuple[Correction, str]] = []
    for key, one in merged.items():
        if reason := _refusal(one, keys.get(key), rows):
            refused.append((one, reason))
        elif one.verdict or one.text != rows[one.message_id]["text"]:
            in_force[one.message_id] = one
    return Applied(in_force, refused)


def _refusal(one: Correction, message: str | None, rows: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return why a correction is not applied, None where it is; `message` is the one whose key it has."""
    if message is None:
        return _CHANGED if one.message_id in rows else _GONE
    if message != one.message_id:
        return _OTHER
    row = rows[message]
    if one.shown is not None and _plain(one.shown) != _plain(row["text"] or ""):
        return _EDITED
    return _NOTHING if row["status"] == "failed" and one.text is None else None


def _plain(text: str) -> str:
    """Return a text without what a program may change by showing it: white space, and what a workbook cannot hold."""
    return re.sub(r"[\s\x00-\x1f\ufffd-\uffff]+", "", text)


def _merge(corrections: Iterable[Correction]) -> dict[str, Correction]:
    """Return one correction for each key. Raise UserError where texts or verdicts of the same translation differ."""
    merged: dict[str, Correction] = {}
    for one in corrections:
        earlier = merged.setdefault(one.key, one)
        texts = {text for text in (earlier.text, one.text) if text is not None}
        if len(texts) > 1 or earlier.judged != one.judged:
            kind = "text" if len(texts) > 1 else "verdict (a correction without one says wrong)"
            raise UserError(
                f"{earlier.where} and {one.where}: two corrections of message {one.message_id} differ in their {kind}; "
                "keep one of them (no correction was applied)"
            )
        # Who wrote the text corrected it.
        first, second = (earlier, one) if earlier.text is not None or one.text is None else (one, earlier)
        merged[one.key] = replace(first, verdict=first.verdict or second.verdict)
    return merged


def _change(row: Mapping[str, Any], one: Correction) -> dict[str, Any]:
    """Return the values that a correction changes in a row."""
    if one.text is not None and one.text != row["text"]:
        who = ", ".join(filter(None, [one.reviewer, one.date]))
        reason = f"{CORRECTED}: {who}" if who else CORRECTED
        return {"text": one.text, "status": "corrected", "reasons": [reason], "score": None, "meaning": None}
    if one.judged == "wrong":
        return {"status": "flagged", "reasons": [*row["reasons"], WRONG]}
    if row["status"] == "flagged":
        reasons = [f"{APPROVED}{reason}" if may_object(reason) else reason for reason in row["reasons"]]
        return {"status": "answered" if row["route"] == TEACHER else "translated", "reasons": reasons}
    return {}


def account(shards: Iterable[pa.Table], applied: Applied, sample: int, seed: int) -> dict[str, Any]:
    """Return the account of corrections, and the verdicts on the random sample.

    `shards` are the translations before the corrections, `sample` and `seed` those of the review sheets. `corrected`,
    `approved` and `judged_wrong` count messages; `refused` lists messages with the reason. `sample` has the verdicts on
    the messages of the random sample, in total, by source language and by model (see verdicts.shares).

    A verdict counts where its message is in the sample, whatever sheet it stands in: the flagged messages of a sheet
    are judged more often than others. So the sample ends with the last message in it that no check had flagged and a
    person judged.
    """
    columns = ["message_id", "text", "route", "status", "reasons", "source_lang", "model"]
    given, statuses, drawn = applied.in_force, Counter[str | None](), list[Row]()
    for shard in shards:
        rows = shard.select(columns).to_pylist()
        statuses.update(
            _change(row, given[row["message_id"]]).get("status") for row in rows if row["message_id"] in given
        )
        drawn = first_at_random([*drawn, *filter(by_model, rows)], sample, seed)
    plain = [at for at, row in enumerate(drawn) if row["message_id"] in given and row["status"] in _UNFLAGGED]
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in drawn[: plain[-1] + 1 if plain else 0]:
        if one := given.get(row["message_id"]):
            for group in (("total", ""), ("by_source", row["source_lang"]), ("by_model", row["model"])):
                groups[group].append(one.judged)
    found: dict[str, Any] = {"total": shares(groups["total", ""]), "by_source": {}, "by_model": {}}
    for (kind, name), verdicts in sorted(groups.items()):
        if kind != "total":
            found[kind][name] = shares(verdicts)
    return {
        "corrected": statuses["corrected"],
        "approved": sum(statuses[status] for status in _UNFLAGGED),
        "judged_wrong": statuses["flagged"],
        "refused": [{"message_id": one.message_id, "reason": why} for one, why in applied.refused],
        "sample": found,
    }
