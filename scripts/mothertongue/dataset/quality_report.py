"""The quality report: figures on a target language's messages, by source language and in total.

It covers every translated message, including those that `quality.on_flagged: drop` removes.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mothertongue.common.language_id import MINIMUM_SCORE, in_other_script, other_language, speaks
from mothertongue.common.languages import UNSPACED
from mothertongue.dataset.reasons import kind_of
from mothertongue.dataset.review import by_model
from mothertongue.formats.messages import ROUTES, STATUSES, TEACHER
from mothertongue.translation import segments
from mothertongue.translation.glossary import Glossary

EXAMPLES = 5
OTHER_LANGUAGES = 5
QUANTILES = (1, 5, 25, 50, 75, 95, 99)
# The edges of the histogram bins: steps of 1/8 octave in length ratio, of 0.2 in mean log-probability, of 0.05 in
# scores of meaning.
EDGES = {
    "length_ratio": [round(2 ** (step / 8), 4) for step in range(-16, 25)],
    "score": [round(step / 5, 1) for step in range(-20, 1)],
    "meaning": [round(step / 20, 2) for step in range(21)],
}
# lid.176 identifies the language of 93% to 100% of FLORES sentences (de, en, es, nl, pt) truncated to 40 letters.
JUDGED_LETTERS = 40
JUDGED_LETTERS_UNSPACED = 20
# Characters of prose given to the language identifier, and of the text's beginning that is segmented first.
READ_CHARACTERS = 80
BEGINNING = 300
NOT_SURE = "not sure"
# Messages that are shown with the lowest scores of meaning, and characters of their texts.
WORST = 20
_SHOWN = 200
_WORST_KEYS = ("meaning", "message_id", "source_text", "text")

_COLUMNS = [
    "message_id",
    "source_lang",
    "source_text",
    "text",
    "route",
    "model",
    "status",
    "reasons",
    "score",
    "meaning",
]

Row = Mapping[str, Any]
Report = dict[str, Any]


def report(
    shards: Iterable[pa.Table],
    lang: str,
    advance: Callable[[int], None] = lambda count: None,
    corrections: Mapping[str, Any] | None = None,
    glossary: Callable[[str], Glossary] | None = None,
) -> Report:
    """Return the figures of translated tables (see messages.TRANSLATED), which are iterated over once.

    Memory grows by 48 bytes a message, its numbers for the quantiles.

    `corrections` is the account of what people corrected and judged (see corrections.account), None where they did not.
    `glossary` returns the terms of a source language: the report's `glossary` has each term that occurs in prose, with
    the number of `uses` in messages that a model translated in one step, and of the `hits` in their translations.

    `total` and every source language in `by_source` (in descending order of messages) have:

    - `messages`: the number of messages, also by `status`, `route` and `model`;
    - `reasons`: the number of messages that fail each check, with the first five ids; `cured`: the same for reasons
      that a second attempt removed; `notes`: the same for what was kept, came off, or was done by people;
    - `length_ratio`: translation over source in `characters` and in UTF-8 `bytes`;
    - `language`: the language that lid.176 identifies in translations whose prose has 40 letters (20 in languages
      without spaces between words): the target language, one of the `others` (the five most frequent), or `not_sure`;
      None where lid.176 does not support the target language;
    - `score`: the engine's score, and the number of messages `without` one;
    - `meaning`: the same of the estimator's score (`quality.meaning`), with the `worst` messages: id, score, source and
      translation, cut.

    The last four cover messages that a model translated, flagged ones included, `language` also what a teacher wrote.
    A histogram's first bin counts the values below the first of `edges`, each further bin those from an edge to the
    next; the last bin has no upper bound.
    """
    total = _Tally()
    terms: dict[str, Counter[str]] = defaultdict(Counter)
    by_source: dict[str, _Tally] = defaultdict(_Tally)
    for shard in shards:
        for row in shard.select(_COLUMNS).to_pylist():
            language = identify(row["text"], lang) if by_model(row) else None
            total.add(row, language)
            by_source[row["source_lang"]].add(row, language)
            by_source[row["source_lang"]].values.add(row)
            if glossary and by_model(row) and row["route"] not in ("pivot", TEACHER):
                source = row["source_lang"]
                for one in glossary(source).find(_prose(row["source_text"], source), row["text"]):
                    terms[f"{source}: {one.term.source}"].update(["uses", *(["hits"] if one.hit else [])])
        advance(len(shard))
    for tally in by_source.values():
        total.values.extend(tally.values)
    most_first = sorted(by_source, key=lambda source: (-by_source[source].messages, source))
    return {
        "lang": lang,
        "edges": EDGES,
        "corrections": corrections,
        "glossary": {term: {"uses": terms[term]["uses"], "hits": terms[term]["hits"]} for term in sorted(terms)},
        "total": total.figures(lang),
        "by_source": {source: by_source[source].figures(lang) for source in most_first},
    }


def identify(text: str, lang: str) -> str | None:
    """Identify the language of a text that should be in `lang`: `lang`, another by lid.176's code, or `not sure`.

    Only the prose that a translation model would read is used. Return None where that is too short, or where lid.176
    does not support `lang`.
    """
    if not _known(lang):
        return None
    needed = JUDGED_LETTERS_UNSPACED if lang in UNSPACED else JUDGED_LETTERS
    # The beginning suffices for most texts, and segmenting takes most of the time.
    for beginning in (text[:BEGINNING], text):
        prose = _prose(beginning, lang)
        if sum(map(str.isalpha, prose)) >= needed:
            prose = prose[:READ_CHARACTERS]
            if speaks(prose, lang):
                return lang
            return other_language(prose, lang, MINIMUM_SCORE) or in_other_script(prose, lang) or NOT_SURE
    return None


def distribution(values: Iterable[float], edges: Sequence[float]) -> dict[str, Any]:
    """Return the quantiles (interpolated linearly) and the histogram of values; both None without values."""
    ordered = np.sort(np.asarray(values))
    if not len(ordered):
        return {"quantiles": None, "histogram": None}
    counts = np.bincount(np.searchsorted(edges, ordered, "right"), minlength=len(edges) + 1)
    quantiles = {f"p{percent}": round(_quantile(ordered, percent / 100), 4) for percent in QUANTILES}
    return {"quantiles": quantiles, "histogram": counts.tolist()}


@dataclass
class _Values:
    """The numbers of messages that a model translated; `without` counts those without a number, by name."""

    characters: "array[float]" = field(default_factory=lambda: array("d"))
    bytes: "array[float]" = field(default_factory=lambda: array("d"))
    score: "array[float]" = field(default_factory=lambda: array("f"))
    meaning: "array[float]" = field(default_factory=lambda: array("f"))
    without: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Add a message, where a model translated it."""
        if not by_model(row) or row["route"] == TEACHER:
            return
        source, text = row["source_text"], row["text"]
        self.characters.append(len(text) / len(source))
        self.bytes.append(len(text.encode()) / len(source.encode()))
        for name, values in (("score", self.score), ("meaning", self.meaning)):
            if row[name] is None:
                self.without[name] += 1
            else:
                values.append(row[name])

    def extend(self, other: "_Values") -> None:
        """Add the numbers of other messages."""
        for name in ("characters", "bytes", "score", "meaning"):
            getattr(self, name).extend(getattr(other, name))
        self.without.update(other.without)

    def scores(self, name: str, edges: Sequence[float]) -> dict[str, Any]:
        """Return the distribution of the scores that there are, and how many messages have none."""
        values = getattr(self, name)
        return {"messages": len(values), "without": self.without[name], **distribution(values, edges)}


@dataclass
class _Tally:
    """Running counts of the messages of one source language, or of all; the caller adds to `values`."""

    messages: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    languages: Counter[str | None] = field(default_factory=Counter)
    values: _Values = field(default_factory=_Values)
    worst: list[tuple[float, str, str, str]] = field(default_factory=list)

    def add(self, row: Row, language: str | None) -> None:
        """Count one message; `language` is the result of `identify` for its translation."""
        self.messages += 1
        self.counts["status"][row["status"]] += 1
        self.counts["route"][row["route"]] += 1
        for kind, reason in dict.fromkeys(kind_of(reason, row["status"]) for reason in row["reasons"]):
            self.reasons[kind][reason] += 1
            if len(ids := self.examples[kind, reason]) < EXAMPLES:
                ids.append(row["message_id"])
        if not by_model(row):
            return
        self.counts["model"][row["model"]] += 1
        self.languages[language] += 1
        if row["meaning"] is not None:
            entry = (row["meaning"], row["message_id"], row["source_text"][:_SHOWN], row["text"][:_SHOWN])
            if len(self.worst) < WORST or entry < self.worst[-1]:
                self.worst = sorted([*self.worst, entry])[:WORST]

    def figures(self, lang: str) -> dict[str, Any]:
        """Return the entry of `report` for one source language, or for the total."""
        values = self.values
        return {
            "messages": self.messages,
            "status": {status: self.counts["status"][status] for status in STATUSES},
            "route": {route: self.counts["route"][route] for route in ROUTES},
            "model": _most_common(self.counts["model"]),
            **{kind: self._examples(kind) for kind in ("reasons", "cured", "notes")},
            "length_ratio": {
                "messages": len(values.characters),
                "characters": distribution(values.characters, EDGES["length_ratio"]),
                "bytes": distribution(values.bytes, EDGES["length_ratio"]),
            },
            "language": _languages(self.languages, lang) if _known(lang) else None,
            "score": values.scores("score", EDGES["score"]),
            "meaning": values.scores("meaning", EDGES["meaning"])
            | {"worst": [dict(zip(_WORST_KEYS, entry, strict=True)) for entry in self.worst]},
        }

    def _examples(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the number of messages and the first ids of each reason, in descending order of frequency."""
        return {
            reason: {"messages": count, "examples": self.examples[kind, reason]}
            for reason, count in _most_common(self.reasons[kind]).items()
        }


def _known(lang: str) -> bool:
    return speaks("", lang) is not None


def _languages(identified: Counter[str | None], target: str) -> dict[str, Any]:
    """Return the figures on identified languages; the key None of `identified` counts translations not judged."""
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
    """Return the prose of a text that is translated, as one line, without the protected spans inside it."""
    parts = segments.split(text, lang)
    return " ".join(" ".join(piece for part in parts if part.translate for piece in part.around).split())


def _quantile(ordered: npt.NDArray[np.floating[Any]], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = int(position)
    one, two = (float(ordered[min(at, len(ordered) - 1)]) for at in (below, below + 1))
    return one + (position - below) * (two - one)
