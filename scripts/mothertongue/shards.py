"""Shards: the slices of the dataset that are translated one by one, as tables."""

from collections.abc import Sequence

import pyarrow as pa

from mothertongue.messages import TRANSLATED
from mothertongue.quality import Limits
from mothertongue.translation import Translate, Translation, nothing_to_translate, translate_messages


def keep(shard: pa.Table, lang: str) -> pa.Table:
    """A shard that is in the target language already."""
    results = [Translation(text, "native" if text.strip() else "copied") for text in shard["text"].to_pylist()]
    return _table(shard, lang, results, "native", None)


def give_up(shard: pa.Table, lang: str) -> pa.Table:
    """A shard that no model can bring into the target language: what has words in it failed, for want of a route."""
    failed = Translation(None, "failed", ["no route"])
    results = [
        Translation(text, "copied") if nothing_to_translate(text, source) else failed
        for text, source in zip(shard["text"].to_pylist(), shard["source_lang"].to_pylist(), strict=True)
    ]
    return _table(shard, lang, results, "none", None)


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
