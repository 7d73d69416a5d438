"""The dataset of one target language: combining its shards, and accounting for every message."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.errors import UserError
from mothertongue.formats.messages import ROUTES, SOURCE, SPLITS, STATUSES

Accounting = dict[str, Any]
Counts = dict[str, Any]


def of_languages(messages: pa.Table, languages: Iterable[str]) -> pa.Table:
    """Return the messages in any of the source languages, in order."""
    return messages.filter(pc.is_in(messages["source_lang"], pa.array(list(languages), pa.string())))


def count_sources(messages: pa.Table, left: Mapping[str, pa.Table], record: Mapping[str, Any]) -> Counts:
    """Count, by split and source language, all messages and those that are not translated, by reason.

    `left` are the messages that are left after each reason, in order: those in the source languages, those in the
    scope. Where the source's rows were conversations, `reading` has what became of these, from the record of fetching.
    """
    after = {why: _by_split_and_language(table) for why, table in left.items()}
    counts: Counts = {split: {} for split in SPLITS}
    for (split, language), number in sorted(_by_split_and_language(messages).items()):
        excluded, before = {}, number
        for why, counted in after.items():
            excluded[why] = before - counted[split, language]
            before = counted[split, language]
        counts[split][language] = {"messages": number, "excluded_because": excluded}
    reading = record.get("reading", {})
    return counts | ({"reading": reading} if "rows" in reading else {})


def combine(shards: list[pa.Table], on_flagged: str) -> dict[str, pa.Table]:
    """Return the dataset by split; `on_flagged` "drop" removes the messages that a quality check flagged."""
    table = pa.concat_tables(shards)
    if on_flagged == "drop":
        table = table.filter(pc.not_equal(table["status"], "flagged"))
    return {split: table.filter(pc.equal(table["split"], split)).combine_chunks() for split in SPLITS}


def account(sources: Counts, shards: list[pa.Table], dataset: Mapping[str, pa.Table]) -> Accounting:
    """Account for every message, by split and source language, and in total.

    `sources` is the result of `count_sources`, or of several sources by name in `sources`; the account then has theirs
    there, too. Raise UserError unless messages in = sum of the statuses + excluded.
    """
    if "sources" in sources:
        parts = {
            name: account(
                counts,
                [table for table in shards if _source(table) == name],
                {split: table.filter(pc.equal(table[SOURCE.name], name)) for split, table in dataset.items()},
            )
            for name, counts in sources["sources"].items()
        }
        return _merged(parts)
    groups: dict[tuple[str, str], Counter[str]] = {}
    for table in shards:
        columns = (table[name].to_pylist() for name in ("split", "source_lang", "status", "route"))
        for split, language, status, route in zip(*columns, strict=True):
            counts = groups.setdefault((split, language), Counter())
            counts.update((status, f"route {route}"))
    out = sum((_by_split_and_language(table) for table in dataset.values()), Counter())
    accounting: Accounting = {}
    for split in SPLITS:
        accounting[split] = {}
        for language, source in sources[split].items():
            counts = groups.pop((split, language), Counter())
            entry = _entry(source["messages"], source["excluded_because"], counts, out[split, language])
            went_in, came_out = entry["messages"] - entry["excluded"], sum(entry["status"].values())
            if went_in != came_out:
                raise UserError(
                    f"{split}, {language}: {went_in} messages went in, {came_out} came out of "
                    "translation; remove this language's translated shards and run again"
                )
            accounting[split][language] = entry
    if groups:
        raise UserError(f"shards of {sorted(groups)} hold messages that the source does not have")
    accounting["total"] = _total([entry for split in SPLITS for entry in accounting[split].values()])
    return accounting | ({"reading": sources["reading"]} if "reading" in sources else {})


def models_used(dataset: Mapping[str, pa.Table]) -> dict[str, int]:
    """Return how many of the dataset's messages each model translated, in descending order; kept ones have none."""
    counts: Counter[str] = Counter()
    for table in dataset.values():
        rows = zip(table["model"].to_pylist(), table["status"].to_pylist(), strict=True)
        counts.update(model for model, status in rows if model and status in ("translated", "flagged", "corrected"))
    return dict(counts.most_common())


def _by_split_and_language(table: pa.Table) -> Counter[tuple[str, str]]:
    return Counter(zip(table["split"].to_pylist(), table["source_lang"].to_pylist(), strict=True))


def _entry(messages: int, excluded: Mapping[str, int], counts: Counter[str], out: int) -> Accounting:
    """Return the account of one split and language; `counts` are of statuses and routes."""
    return {
        "messages": messages,
        "excluded": sum(excluded.values()),
        "excluded_because": dict(excluded),
        "status": {status: counts[status] for status in STATUSES},
        "route": {route: counts[f"route {route}"] for route in ROUTES},
        "out": out,
    }


def _source(table: pa.Table) -> str | None:
    """Return the source of a shard's messages; None for one without messages."""
    return table[SOURCE.name][0].as_py() if len(table) else None


def _merged(parts: Mapping[str, Accounting]) -> Accounting:
    """Return the accounts of several sources as one, with each of them in `sources`."""
    merged: Accounting = {}
    for split in SPLITS:
        languages = sorted({language for part in parts.values() for language in part[split]})
        merged[split] = {
            language: _total([part[split][language] for part in parts.values() if language in part[split]])
            for language in languages
        }
    merged["total"] = _total([part["total"] for part in parts.values()])
    return merged | {"sources": dict(parts)}


def _total(entries: list[Accounting]) -> Accounting:
    total = _entry(0, {"language": 0, "scope": 0}, Counter(), 0)
    for entry in entries:
        for key in ("messages", "excluded", "out"):
            total[key] += entry[key]
        for key in ("excluded_because", "status", "route"):
            for name, count in entry[key].items():
                total[key][name] = total[key].get(name, 0) + count
    return total
