"""The dataset of one target language: its shards put together, and the account of every message."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.errors import UserError
from mothertongue.messages import ROUTES, SPLITS, STATUSES

Accounting = dict[str, Any]


def combine(shards: list[pa.Table], on_flagged: str) -> dict[str, pa.Table]:
    """The dataset by split; `on_flagged: drop` leaves out what a quality check objected to."""
    table = pa.concat_tables(shards)
    if on_flagged == "drop":
        table = table.filter(pc.not_equal(table["status"], "flagged"))
    return {split: table.filter(pc.equal(table["split"], split)).combine_chunks() for split in SPLITS}


def account(
    sources: Mapping[str, Mapping[str, int]],
    languages: list[str],
    shards: list[pa.Table],
    dataset: Mapping[str, pa.Table],
) -> Accounting:
    """What became of every message, by split and source language, and in total.

    `sources` counts the source's messages by split and language; those not in `languages` are excluded.
    Raises UserError where a message went missing:
    messages in = sum of the statuses + excluded.
    """
    groups: dict[tuple[str, str], Counter[str]] = {}
    for table in shards:
        columns = (table[name].to_pylist() for name in ("split", "source_lang", "status", "route"))
        for split, language, status, route in zip(*columns, strict=True):
            counts = groups.setdefault((split, language), Counter())
            counts.update((status, f"route {route}"))
    out = {
        (split, language): count
        for split, table in dataset.items()
        for language, count in Counter(table["source_lang"].to_pylist()).items()
    }
    accounting: Accounting = {}
    for split in SPLITS:
        accounting[split] = {}
        for language, messages in sources.get(split, {}).items():
            counts = groups.pop((split, language), Counter()) if language in languages else None
            entry = _entry(messages, counts, out.get((split, language), 0))
            if counts is not None and messages != sum(entry["status"].values()):
                raise UserError(
                    f"{split}, {language}: {messages} messages went in, {sum(entry['status'].values())} came out of "
                    "translation; remove this language's translated shards and run again"
                )
            accounting[split][language] = entry
    if groups:
        raise UserError(f"shards of {sorted(groups)} hold messages that the source does not have")
    accounting["total"] = _total([entry for split in SPLITS for entry in accounting[split].values()])
    return accounting


def models_used(dataset: Mapping[str, pa.Table]) -> dict[str, int]:
    """How many of the dataset's messages each model translated, the most used first."""
    counts: Counter[str] = Counter()
    for table in dataset.values():
        rows = zip(table["model"].to_pylist(), table["status"].to_pylist(), strict=True)
        counts.update(model for model, status in rows if status in ("translated", "flagged"))
    return dict(counts.most_common())


def _entry(messages: int, counts: Counter[str] | None, out: int) -> Accounting:
    """One split and language; `counts` is None where the language is not in source.languages."""
    seen = counts or Counter()
    return {
        "messages": messages,
        "excluded": messages if counts is None else 0,
        "status": {status: seen[status] for status in STATUSES},
        "route": {route: seen[f"route {route}"] for route in ROUTES},
        "out": out,
    }


def _total(entries: list[Accounting]) -> Accounting:
    total = _entry(0, None, 0)
    for entry in entries:
        for key in ("messages", "excluded", "out"):
            total[key] += entry[key]
        for key in ("status", "route"):
            for name, count in entry[key].items():
                total[key][name] += count
    return total
