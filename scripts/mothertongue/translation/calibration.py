"""Calibrate an estimator of meaning: plant errors in good translations, and see which scores tell them apart.

The area under the ROC curve (AUC) is the probability that a right translation scores higher than a wrong one (Hanley
and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", 1982).
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mothertongue.common.languages import UNSPACED

Pair = tuple[str, str]

# Words that negate a sentence, by language; without them it says the opposite.
_NEGATIONS = {
    "de": "nicht kein keine keinen keiner", "en": "not no never cannot", "es": "no nunca", "fr": "pas jamais ne n'",
    "it": "non mai", "nl": "niet geen nooit", "pl": "nie", "pt": "não nunca", "ru": "не нет", "tr": "değil",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Caught:
    """An error that was planted: its name, the number of pairs, their AUC, and the share below the threshold."""

    error: str
    pairs: int
    auc: float
    share: float


def planted(sources: Sequence[str], translations: Sequence[str], target: str) -> dict[str, list[Pair]]:
    """Return pairs of sources and wrong translations into language `target`, by the error that is in them."""
    errors: dict[str, Callable[[int], str | None]] = {
        "another sentence": lambda i: translations[i - 1],
        "half lost": lambda i: _half(translations[i], target),
        "not translated": lambda i: sources[i],
        "number changed": lambda i: _changed(_NUMBER.sub(_other_number, translations[i]), translations[i]),
        "negation dropped": lambda i: _changed(_affirmed(translations[i], target), translations[i]),
    }
    found: dict[str, list[Pair]] = {}
    for name, error in errors.items():
        wrong = ((source, error(i)) for i, source in enumerate(sources))
        found[name] = [(source, text) for source, text in wrong if text]
    return {name: pairs for name, pairs in found.items() if pairs}


def threshold(right: Sequence[float], false_alarms: float) -> float:
    """Return the score below which at most the share `false_alarms` of right translations are."""
    ordered = sorted(right)
    return ordered[min(int(false_alarms * len(ordered)), len(ordered) - 1)]


def caught(error: str, right: Sequence[float], wrong: Sequence[float], least: float) -> Caught:
    """Return how well the scores of wrong translations are told from those of right ones."""
    ordered = sorted(right)
    above = sum(2 * len(ordered) - bisect_right(ordered, score) - bisect_left(ordered, score) for score in wrong)
    auc = above / (2 * len(ordered) * len(wrong))
    return Caught(error, len(wrong), auc, sum(score < least for score in wrong) / len(wrong))


def _half(text: str, lang: str) -> str | None:
    """Return the first half of a text by words, or by characters in languages without spaces."""
    if lang in UNSPACED:
        return text[: len(text) // 2] or None
    words = text.split()
    return " ".join(words[: len(words) // 2]) or None


def _other_number(found: re.Match[str]) -> str:
    return str(int(found[0]) * 3 + 7)


def _affirmed(text: str, lang: str) -> str:
    """Return a text without its words of negation."""
    words = _NEGATIONS.get(lang.partition("-")[0], "").split()
    return " ".join(word for word in text.split() if word.strip(".,;:!?\"'").lower() not in words) if words else text


def _changed(text: str, before: str) -> str | None:
    return text if text != before else None
