"""The messages that people review: a random sample of the translations, and those that a check flagged."""

import hashlib
import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.formats.messages import TEACHER, hash_of

RANDOM, FLAGGED, CHANGED = "random sample", "flagged", "changed since it was corrected"
# Characters of the message before, which is shown as context.
CONTEXT = 1_000
_COLUMNS = ["message_id", "parent_id", "source_lang", "source_text", "text", "route", "model", "status", "reasons"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """A message to review.

    `key` identifies language, message, source and translation: a correction applies to this translation only. `why` is
    the reason for which the message was chosen, `context` the message that it replies to, in the source language or,
    for a teacher's answer, as the teacher read it; `earlier` is the correction of a translation that has changed since.
    """

    key: str
    message_id: str
    why: str
    source_lang: str
    model: str
    reasons: str
    context: str
    source: str
    translation: str
    earlier: str = ""


def key_of(lang: str, message_id: str, source: str, translation: str | None) -> str:
    """Return the key of a translation: the language, and a checksum of message, source and translation."""
    content = "\0".join([message_id, source, "" if translation is None else f"={translation}"])
    return f"{lang}:{hashlib.sha256(content.encode()).hexdigest()[:20]}"


def choose(
    shards: Iterable[pa.Table],
    lang: str,
    sample: int,
    flagged: int,
    seed: int,
    reviewed: Collection[str] = (),
    changed: Mapping[str, str] | None = None,
) -> list[Item]:
    """Return the messages to review, without those whose key is in `reviewed`.

    They are `sample` messages drawn at random from all that a model translated, then at most `flagged` of the flagged
    and failed ones, drawn likewise, then those of `changed`: corrections whose translation has changed since, by
    message. A larger sample of the same seed includes the smaller one. `shards` is iterated over twice.
    """
    earlier = changed or {}
    translated: list[Row] = []
    suspect: list[Row] = []
    again: list[Row] = []
    for shard in shards:
        rows = shard.select(_COLUMNS).to_pylist()
        translated = first_at_random([*translated, *filter(by_model, rows)], sample, seed)
        # Those of the sample are not chosen twice.
        wanted = (row for row in rows if row["status"] in ("flagged", "failed"))
        suspect = first_at_random([*suspect, *wanted], sample + flagged, seed)
        again += [row for row in rows if row["message_id"] in earlier]
    chosen = {row["message_id"]: (row, RANDOM) for row in translated}
    others = [row for row in suspect if row["message_id"] not in chosen]
    chosen |= {row["message_id"]: (row, FLAGGED) for row in others[:flagged]}
    again = [row for row in first_at_random(again, len(again), seed) if row["message_id"] not in chosen]
    chosen |= {row["message_id"]: (row, CHANGED) for row in again}
    texts = _texts(shards, (row["parent_id"] for row, _ in chosen.values()))
    items = [_item(row, why, lang, texts, earlier.get(row["message_id"], "")) for row, why in chosen.values()]
    return [item for item in items if item.key not in reviewed]


def by_model(row: Row) -> bool:
    """Return whether a message has a translation, or an answer, of a model's."""
    return row["model"] is not None and row["status"] in ("translated", "answered", "flagged")


def first_at_random(rows: Iterable[Row], number: int, seed: int) -> list[Row]:
    """Return the first messages, at most `number`, in an order that depends on their ids and the seed alone."""
    return heapq.nsmallest(number, rows, key=lambda row: hash_of(row["message_id"], f"review {seed}"))


def _texts(shards: Iterable[pa.Table], ids: Iterable[str | None]) -> dict[str, Row]:
    """Return the texts of messages by id: as they were, and in the target language."""
    wanted = pa.array(list(ids), pa.string())
    texts: dict[str, Row] = {}
    for shard in shards:
        found = shard.filter(pc.is_in(shard["message_id"], wanted)).select(["message_id", "source_text", "text"])
        texts.update({row["message_id"]: row for row in found.to_pylist()})
    return texts


def _item(row: Row, why: str, lang: str, texts: Mapping[str, Row], earlier: str) -> Item:
    before = texts.get(row["parent_id"] or "", {"source_text": "", "text": ""})
    context = before["text" if row["route"] == TEACHER else "source_text"] or ""
    return Item(
        key=key_of(lang, row["message_id"], row["source_text"], row["text"]),
        message_id=row["message_id"],
        why=why,
        source_lang=row["source_lang"],
        model=row["model"] or "",
        reasons=", ".join(row["reasons"]),
        context=context if len(context) <= CONTEXT else f"{context[:CONTEXT]} …",
        source=row["source_text"],
        translation=row["text"] or "",
        earlier=earlier,
    )
