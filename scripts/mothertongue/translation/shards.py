"""Translate shards, the slices of the dataset, as tables."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.formats.messages import AWAITING, SOURCE, TEACHER, TRANSLATED
from mothertongue.translation import script_conversion
from mothertongue.translation.documents import Turn, earlier_turns, plain
from mothertongue.translation.messages import KEPT, Translation, Translator, nothing_to_translate, translate_messages


def keep(shard: pa.Table, lang: str) -> pa.Table:
    """Return a shard that is already in the target language with status native; blank messages are copied."""
    results = [Translation(text, "native" if text.strip() else "copied") for text in shard["text"].to_pylist()]
    return _table(shard, lang, results, "native")


def convert(shard: pa.Table, source: str, target: str) -> pa.Table:
    """Return a shard in the other script of its language; what has no words is copied."""
    converted = script_conversion.converter(source, target)
    results = []
    for text in shard["text"].to_pylist():
        other, japanese = converted(text)
        reasons = [f"{KEPT}ja"] if japanese else []
        copied = Translation(text, "copied")
        own = Translation(other, "translated", reasons, models=[script_conversion.MODEL])
        results.append(copied if nothing_to_translate(text, source) else own)
    return _table(shard, target, results, "direct")


def give_up(shard: pa.Table, lang: str) -> pa.Table:
    """Return a shard without a route to the target language: messages with words have failed, others are copied."""
    failed = Translation(None, "failed", ["no route"])
    results = [
        Translation(text, "copied") if nothing_to_translate(text, source) else failed
        for text, source in zip(shard["text"].to_pylist(), shard["source_lang"].to_pylist(), strict=True)
    ]
    return _table(shard, lang, results, "none")


def translate(shard: pa.Table, lang: str, translator: Translator, route: str, only_users: bool = False) -> pa.Table:
    """Return a shard translated in one step; with `only_users` the assistant's messages are left to a teacher."""
    wanted = [not only_users or role != "assistant" for role in shard["role"].to_pylist()]
    texts, earlier = shard["text"].to_pylist(), _earlier(shard, translator)
    translated = iter(translate_messages(list(compress(texts, wanted)), translator, list(compress(earlier, wanted))))
    results = [next(translated) if one else Translation(None, AWAITING) for one in wanted]
    return _table(shard, lang, results, route)


def _earlier(shard: pa.Table, translator: Translator) -> list[tuple[Turn, ...]]:
    """Return the turns before each message of the shard; empty where no engine reads them."""
    if translator.documents is None:
        return []
    columns = [shard[name].to_pylist() for name in ("message_id", "parent_id", "role", "text")]
    lang, limit = translator.checks.source, translator.documents.earlier_bytes
    messages = {
        name: (parent, role, text and plain(text, lang)) for name, parent, role, text in zip(*columns, strict=True)
    }
    return [earlier_turns(name, messages, limit) for name in columns[0]]


def translate_pivot(pivot: pa.Table, lang: str, translator: Translator) -> pa.Table:
    """Translate the shard's English translation into the target language.

    Messages that failed there stay failed, and those that wait for a teacher wait.
    """
    usable = pivot.filter(pc.is_valid(pivot["text"]))
    second = iter(translate_messages(usable["text"].to_pylist(), translator, _earlier(usable, translator)))
    names = ("source_text", "text", "status", "reasons", "score", "meaning", "model")
    rows = zip(*(pivot[name].to_pylist() for name in names), strict=True)
    results = []
    for source, text, status, reasons, score, meaning, model in rows:
        reasons = [f"pivot: {reason}" for reason in reasons]
        first = Translation(text, status, reasons, score, [model] if model else [], meaning)
        results.append(first if text is None else _chained(source, first, next(second)))
    table = pivot.drop_columns(["text"]).append_column("text", pivot["source_text"])
    return _table(table, lang, results, "pivot")


def _chained(source: str, first: Translation, second: Translation) -> Translation:
    """Combine a message's two steps into one result; its scores are the lower ones of the two.

    What the first step kept, the second may translate: English in a shard of another language. A message that both kept
    is in the target language; one that the first damaged is not mended where the second has nothing to translate.
    """
    kept = second.status == "copied" and first.text == source
    damaged = first.status == "flagged" and second.status in ("translated", "copied") and not kept
    status = "flagged" if damaged else second.status
    return replace(
        second,
        status=status,
        reasons=first.reasons + second.reasons,
        score=_lower(first.score, second.score),
        meaning=_lower(first.meaning, second.meaning),
        models=first.models + second.models,
    )


def _lower(*scores: float | None) -> float | None:
    """Return the lower of two scores; None where there is none."""
    return min((score for score in scores if score is not None), default=None)


def _table(shard: pa.Table, lang: str, results: Sequence[Translation], route: str) -> pa.Table:
    """Return the shard's rows with their results. Raise AssertionError where a result is missing, which is a bug."""
    if len(results) != len(shard):
        raise AssertionError(f"{len(shard)} messages went in, {len(results)} came out")
    rows = len(shard)
    columns = {name: shard[name] for name in shard.column_names}
    columns |= {
        "text": pa.array([result.text for result in results], pa.string()),
        "lang": pa.array([lang] * rows, pa.string()),
        "source_text": shard["text"],
        "route": pa.array([TEACHER if result.status == AWAITING else route for result in results], pa.string()),
        "model": pa.array(["+".join(result.models) or None for result in results], pa.string()),
        "status": pa.array([result.status for result in results], pa.string()),
        "reasons": pa.array([result.reasons for result in results], pa.list_(pa.string())),
        "score": pa.array([result.score for result in results], pa.float32()),
        "meaning": pa.array([result.meaning for result in results], pa.float32()),
    }
    schema = TRANSLATED.append(SOURCE) if SOURCE.name in columns else TRANSLATED
    return pa.table([columns[field.name] for field in schema], schema=schema)
