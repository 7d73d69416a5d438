"""Shards: the slices of the dataset that are translated one by one, as tables."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.messages import TRANSLATED, shard_of
from mothertongue.quality import Limits
from mothertongue.translation import Translate, Translation, translate_messages


def divide(messages: pa.Table, language: str, shards: int) -> list[pa.Table]:
    """The messages of one source language as `shards` tables (some may be empty), their order kept."""
    table = messages.filter(pc.equal(messages["source_lang"], language))
    numbers = [shard_of(tree, shards) for tree in table["message_tree_id"].to_pylist()]
    column = pa.array(numbers, pa.int32())
    return [table.filter(pc.equal(column, shard)).combine_chunks() for shard in range(shards)]


def keep(shard: pa.Table, lang: str) -> pa.Table:
    """A shard that is in the target language already."""
    return _table(shard, lang, [Translation(text, "native") for text in shard["text"].to_pylist()], "native", None)


def give_up(shard: pa.Table, lang: str) -> pa.Table:
    """A shard that no model can bring into the target language: every message failed, for want of a route."""
    return _table(shard, lang, [Translation(None, "failed", ["no route"])] * len(shard), "none", None)


def translate(shard: pa.Table, lang: str, engine: Translate, model: str, limits: Limits) -> pa.Table:
    """A shard translated by one model; `model` is its identity."""
    source = shard["source_lang"][0].as_py() if len(shard) else lang
    results = translate_messages(shard["text"].to_pylist(), engine, source, lang, limits)
    return _table(shard, lang, results, "direct", model)


def translate_pivot(pivot: pa.Table, lang: str, engine: Translate, model: str, limits: Limits) -> pa.Table:
    """A shard that was translated into English before, translated on; what failed there stays failed."""
    texts = pivot["text"].to_pylist()
    usable = [text for text in texts if text is not None]
    done = iter(translate_messages(usable, engine, "en", lang, limits))
    results = []
    for text, status, reasons in zip(texts, pivot["status"].to_pylist(), pivot["reasons"].to_pylist(), strict=True):
        before = [f"pivot: {reason}" for reason in reasons]
        if text is None:
            results.append(Translation(None, "failed", before))
            continue
        result = next(done)
        both = before + result.reasons
        flagged = "flagged" if both and result.status == "translated" else result.status
        results.append(Translation(result.text, flagged if status != "copied" else "copied", both))
    models = [first and f"{first}+{model}" for first in pivot["model"].to_pylist()]
    source = pivot.drop_columns(["text"]).append_column("text", pivot["source_text"])
    return _table(source, lang, results, "pivot", models[0] if models else None)


def _table(shard: pa.Table, lang: str, results: Sequence[Translation], route: str, model: str | None) -> pa.Table:
    """The shard's rows with what became of each. A row that is missing is a bug and stops the build."""
    if len(results) != len(shard):
        raise AssertionError(f"{len(shard)} messages went in, {len(results)} came out")
    rows = len(shard)
    columns = {name: shard[name] for name in shard.column_names}
    columns |= {
        "text": pa.array([result.text for result in results], pa.string()),
        "lang": pa.array([lang] * rows, pa.string()),
        "source_text": shard["text"],
        "route": pa.array([route] * rows, pa.string()),
        "model": pa.array([model] * rows, pa.string()),
        "status": pa.array([result.status for result in results], pa.string()),
        "reasons": pa.array([result.reasons for result in results], pa.list_(pa.string())),
        "score": pa.nulls(rows, pa.float32()),
    }
    return pa.table([columns[field.name] for field in TRANSLATED], schema=TRANSLATED)
