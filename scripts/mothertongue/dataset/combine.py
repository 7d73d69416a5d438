"""The dataset of one target language: combining its shards, and accounting for every message."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.errors import UserError
from mothertongue.formats.messages import ROUTES, SOURCE, SPLITS, STATUSES, TEACHER, MessageWriter

Accounting = dict[str, Any]
Counts = dict[str, Any]
_OUT = "out"


@dataclass
class Counted:
    """The messages that came out of translation: by source, split and source language, and by model.

    `groups` counts statuses, routes, and the messages of the dataset (`out`); `by_split` has the counts of `models`,
    and `teachers` counts the messages of the dataset that each teacher wrote.
    """

    groups: dict[tuple[str, str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_split: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})
    teachers: Counter[str] = field(default_factory=Counter)

    @property
    def models(self) -> Counter[str]:
        """The messages of the dataset that each model translated; kept ones have none."""
        return sum(self.by_split.values(), Counter())

    def add(self, table: pa.Table, on_flagged: str) -> pa.Table:
        """Count messages; return those of the dataset: `on_flagged` "drop" leaves out those that a check flagged."""
        names = ["split", "source_lang", "status", "route", "model"]
        sources = table[SOURCE.name].to_pylist() if SOURCE.name in table.column_names else [""] * len(table)
        columns = (table[name].to_pylist() for name in names)
        for source, split, language, status, route, model in zip(sources, *columns, strict=True):
            counts = self.groups[source, split, language]
            counts[status] += 1
            counts[f"route {route}"] += 1
            if status == "flagged" and on_flagged == "drop":
                continue
            counts[_OUT] += 1
            if model and status in ("translated", "answered", "flagged", "corrected"):
                (self.teachers if route == TEACHER else self.by_split[split])[model] += 1
        return table.filter(pc.not_equal(table["status"], "flagged")) if on_flagged == "drop" else table


def written(
    tables: Iterable[pa.Table], files: Mapping[str, MessageWriter], counted: Counted, on_flagged: str
) -> Iterator[pa.Table]:
    """Yield translations, as they are counted, and those of the dataset written to the file of their split."""
    for table in tables:
        kept = counted.add(table, on_flagged)
        for split, file in files.items():
            file.write(kept.filter(pc.equal(kept["split"], split)))
        yield table


def account(sources: Counts, counted: Counted) -> Accounting:
    """Account for every message, by split and source language, and in total.

    `sources` is the result of `Source.counts`, or of several sources by name in `sources`; the account then has theirs
    there, too. Where a teacher answered, `answered_by` counts the messages of each. Raise UserError unless messages
    in = sum of the statuses + excluded.
    """
    if "sources" not in sources:
        found = _account(sources, counted, "")
    else:
        found = _merged({name: _account(counts, counted, name) for name, counts in sources["sources"].items()})
    return found | ({"answered_by": dict(counted.teachers.most_common())} if counted.teachers else {})


def _account(counts: Counts, counted: Counted, source: str) -> Accounting:
    groups = {(split, lang): group for (name, split, lang), group in counted.groups.items() if name == source}
    accounting: Accounting = {}
    for split in SPLITS:
        accounting[split] = {}
        for language, given in counts[split].items():
            entry = _entry(given["messages"], given["excluded_because"], groups.pop((split, language), Counter()))
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
    return accounting | ({"reading": counts["reading"]} if "reading" in counts else {})


def _entry(messages: int, excluded: Mapping[str, int], counts: Counter[str]) -> Accounting:
    """Return the account of one split and language; `counts` are those of `Counted`."""
    return {
        "messages": messages,
        "excluded": sum(excluded.values()),
        "excluded_because": dict(excluded),
        "status": {status: counts[status] for status in STATUSES},
        "route": {route: counts[f"route {route}"] for route in ROUTES},
        "out": counts[_OUT],
    }


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
    total = _entry(0, {"language": 0, "scope": 0}, Counter())
    for entry in entries:
        for key in ("messages", "excluded", "out"):
            total[key] += entry[key]
        for key in ("excluded_because", "status", "route"):
            for name, count in entry[key].items():
                total[key][name] = total[key].get(name, 0) + count
    return total
