"""The quality report: what became of a target language's messages, by source language and in total, in figures.

It covers every message that went through translation, those that `quality.on_flagged: drop` leaves out included.
"""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mothertongue.common.language_id import MINIMUM_SCORE, other_language, speaks
from mothertongue.common.languages import UNSPACED
from mothertongue.formats.messages import ROUTES, STATUSES
from mothertongue.translation import segments

# Stands in a reason, after `pivot: ` where the objection was to the pivot's English, that a second try has removed.
CURED = "cured: "
EXAMPLES = 5
OTHER_LANGUAGES = 5
QUANTILES = (1, 5, 25, 50, 75, 95, 99)
# The bounds of the histograms' bins: eighths of an octave of length, fifths of a mean log-probability.
EDGES = {
    "length_ratio": [round(2 ** (step / 8), 4) for step in range(-16, 25)],
    "score": [round(step / 5, 1) for step in range(-20, 1)],
}
# lid.176 names the language of 93% to 100% of FLORES sentences (de, en, es, nl, pt) that are cut to 40 letters.
JUDGED_LETTERS = 40
JUDGED_LETTERS_UNSPACED = 20
# What the language identifier reads, and how much of a text is taken apart first to have it.
READ_CHARACTERS = 80
BEGINNING = 300
NOT_SURE = "not sure"

_COLUMNS = ["message_id", "source_lang", "source_text", "text", "route", "model", "status", "reasons", "score"]

Row = Mapping[str, Any]
Report = dict[str, Any]


def report(shards: Iterable[pa.Table], lang: str, advance: Callable[[int], None] = lambda count: None) -> Report:
    """The figures of translated tables (see messages.TRANSLATED) in the target language, each read once.

    `total` and every source language in `by_source` (the one with the most messages first) hold:

    - `messages`, and by `status`, `route` and `model` how many;
    - `reasons`: how many messages each check objects to, with the ids of the first five; `cured`: the same of what a
      second try removed;
    - `length_ratio`: translation over source in `characters` and in UTF-8 `bytes`;
    - `language`: what lid.176 takes the translations for, where their prose has 40 letters (20 where words are written
      without spaces): the target language, one of the `others` (the five most frequent are named), or it is `not_sure`;
      None where it does not know the target language;
    - `score`: the engine's own, and how many messages are `without` one.

    The last three are of messages that a model translated, flagged ones included. A histogram counts the values below
    the first of `edges`, then from each edge on, the last without an end.
    """
    total = _Tally()
    by_source: dict[str, _Tally] = defaultdict(_Tally)
    for shard in shards:
        for row in shard.select(_COLUMNS).to_pylist():
            language = identify(row["text"], lang) if _by_model(row) else None
            total.add(row, language)
            by_source[row["source_lang"]].add(row, language)
        advance(len(shard))
    most_first = sorted(by_source, key=lambda source: (-by_source[source].messages, source))
    return {
        "lang": lang,
        "edges": EDGES,
        "total": total.figures(lang),
        "by_source": {source: by_source[source].figures(lang) for source in most_first},
    }


def identify(text: str, lang: str) -> str | None:
    """The language of a text that should be in `lang`: that, another by lid.176's code, or `not sure`.

    Only what a translation model would see of it is looked at. None where that is too little to judge, or where the
    identifier does not know `lang`.
    """
    if not _known(lang):
        return None
    needed = JUDGED_LETTERS_UNSPACED if lang in UNSPACED else JUDGED_LETTERS
    # Most texts say enough at their beginning; taking them apart is what costs time.
    for beginning in (text[:BEGINNING], text):
        prose = _prose(beginning, lang)
        if sum(map(str.isalpha, prose)) >= needed:
            prose = prose[:READ_CHARACTERS]
            return lang if speaks(prose, lang) else other_language(prose, lang, MINIMUM_SCORE) or NOT_SURE
    return None


def distribution(values: Sequence[float], edges: Sequence[float]) -> dict[str, Any]:
    """Quantiles (interpolated linearly) and histogram of values; both None where there are none."""
    if not values:
        return {"quantiles": None, "histogram": None}
    ordered = sorted(values)
    counts = [0] * (len(edges) + 1)
    for value in ordered:
        counts[bisect(edges, value)] += 1
    quantiles = {f"p{percent}": round(_quantile(ordered, percent / 100), 4) for percent in QUANTILES}
    return {"quantiles": quantiles, "histogram": counts}


@dataclass
class _Tally:
    """The messages of one source language, or of all, as they are read."""

    messages: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    characters: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)
    languages: Counter[str | None] = field(default_factory=Counter)
    scores: list[float | None] = field(default_factory=list)

    def add(self, row: Row, language: str | None) -> None:
        """Count one message; `language` is that of its translation, as `identify` has it."""
        self.messages += 1
        self.counts["status"][row["status"]] += 1
        self.counts["route"][row["route"]] += 1
        for reason in dict.fromkeys(row["reasons"]):
            self.reasons[reason].append(row["message_id"])
        if not _by_model(row):
            return
        source, text = row["source_text"], row["text"]
        self.counts["model"][row["model"]] += 1
        self.characters.append(len(text) / len(source))
        self.bytes.append(len(text.encode()) / len(source.encode()))
        self.languages[language] += 1
        self.scores.append(row["score"])

    def figures(self, lang: str) -> dict[str, Any]:
        """What `report` says of one source language, or of all."""
        reasons = {reason: ids for reason, ids in self.reasons.items() if CURED not in reason}
        cured = {reason.replace(CURED, ""): ids for reason, ids in self.reasons.items() if CURED in reason}
        scores = [score for score in self.scores if score is not None]
        return {
            "messages": self.messages,
            "status": {status: self.counts["status"][status] for status in STATUSES},
            "route": {route: self.counts["route"][route] for route in ROUTES},
            "model": _most_common(self.counts["model"]),
            "reasons": _examples(reasons),
            "cured": _examples(cured),
            "length_ratio": {
                "messages": len(self.characters),
                "characters": distribution(self.characters, EDGES["length_ratio"]),
                "bytes": distribution(self.bytes, EDGES["length_ratio"]),
            },
            "language": _languages(self.languages, lang) if _known(lang) else None,
            "score": {
                "messages": len(scores),
                "without": len(self.scores) - len(scores),
                **distribution(scores, EDGES["score"]),
            },
        }


def _known(lang: str) -> bool:
    return speaks("", lang) is not None


def _by_model(row: Row) -> bool:
    return row["status"] in ("translated", "flagged")


def _examples(reasons: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """The number of messages and the first ids of each reason, the most frequent reason first."""
    ordered = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    return {reason: {"messages": len(ids), "examples": ids[:EXAMPLES]} for reason, ids in ordered}


def _languages(identified: Counter[str | None], target: str) -> dict[str, Any]:
    """The languages that translations were taken for; None counts those that were not judged."""
    judged = identified.total() - identified[None]
    others = {language: n for language, n in identified.items() if language not in (None, NOT_SURE, target)}
    return {
        "judged": judged,
        "not_judged": identified[None],
        "in_target": identified[target],
        "in_target_share": round(identified[target] / judged, 4) if judged else None,
        "not_sure": identified[NOT_SURE],
        "others": dict(list(_most_common(others).items())[:OTHER_LANGUAGES]),
    }


def _most_common(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _prose(text: str, lang: str) -> str:
    """What is translated of a text, as one line, without the spans that are kept inside it."""
    parts = segments.split(text, lang)
    return " ".join(" ".join(piece for part in parts if part.translate for piece in part.around).split())


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
