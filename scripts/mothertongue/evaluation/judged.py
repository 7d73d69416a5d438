"""What a judge found, in judge.json, for its readers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_object, sha256
from mothertongue.evaluation.estimate import NO_INTERVAL, Estimate, find
from mothertongue.evaluation.systems import BY_NAME, System

FILE, SAMPLES = "judge.json", "samples.jsonl"
# The fewest wins and losses with which an interval is believed: where nearly all are ties, a bootstrap's is too narrow.
ENOUGH_DECIDED = 10
KINDS = {"native": "native", "translated": "translated", "english": "English"}


@dataclass(frozen=True)
class Comparison:
    """Two systems that a judge compared, `other` of another `variant` where that is not empty.

    `entry` has the figures; see evaluation/comparisons.py.
    """

    system: System
    other: System
    variant: str
    entry: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Both systems: `adapter vs base model`."""
        return f"{self.system.label} vs {self.other_label}"

    @property
    def other_label(self) -> str:
        """The second system, with its variant."""
        return f"{self.other.label} of {self.variant}" if self.variant else self.other.label

    @property
    def ties(self) -> int:
        """The pairs that no answer wins: also those in which the order decides, and equal answers."""
        return sum(self.entry[name] for name in ("ties", "inconsistent", "identical"))

    @property
    def unjudged(self) -> int:
        """The pairs without a verdict, which are left out."""
        return sum(self.entry[name] for name in ("no_verdict", "too_long"))

    def figures(self, kind: str = "all") -> Mapping[str, Any]:
        """Return the figures of a kind of prompts; empty without such prompts."""
        found: Mapping[str, Any] = self.entry if kind == "all" else self.entry["by_kind"].get(kind, {})
        return found

    @property
    def first_position(self) -> Estimate | None:
        """The share of verdicts for the answer that was shown first."""
        return find(self.entry, "first_position")

    @property
    def longer(self) -> Estimate | None:
        """The win rate by the length of answers alone."""
        return find(self.entry, "longer")

    @property
    def length_balanced(self) -> Estimate | None:
        """The win rate where the first answer is as often the longer one as the shorter, and by as much."""
        return find(self.entry, "length_balanced")


def of_evaluation(folder: Path) -> dict[str, Any] | None:
    """Return judge.json of an evaluation's folder; None where there is none, or it is about other answers."""
    if not (folder / FILE).is_file() or not (folder / SAMPLES).is_file():
        return None
    judged = read_object(folder / FILE)
    return judged if judged.get("samples") == sha256(folder / SAMPLES) else None


def read(judged: Mapping[str, Any] | None) -> list[Comparison]:
    """Return the comparisons of judge.json in its order; none where they are withheld."""
    return [
        Comparison(BY_NAME[one["first"]], BY_NAME[one["second"]], one["variant"], one["figures"])
        for one in (judged or {}).get("pairs") or []
    ]


def agreements(judged: Mapping[str, Any] | None) -> dict[str, Estimate | None]:
    """Return the judge's agreement with people's ranks by the name of the kind of replies; None where not measured."""
    groups = (judged or {}).get("agreement", {}).get("groups", {})
    return {label: find(groups, kind, "figures", "score") for kind, label in KINDS.items() if kind in groups}


def lines(judged: Mapping[str, Any]) -> list[str]:
    """Return who wins, or why that is withheld, and the votes of people, as lines of text."""
    model = judged["judge"]["model"]
    told = [
        f"{model} agrees with people's ranks on {kind} replies in {found.share(sized=True)}"
        for kind, found in agreements(judged).items()
        if found
    ]
    if judged["withheld"]:
        told.append(f"{model}: no win rates, because {judged['withheld']}")
    for one in read(judged):
        if score := find(one.figures(), "score"):
            told.append(f"{one.label}: wins {score.share(sized=True)}, ties count half; {verdict(one.figures())}")
    if votes := judged.get("votes"):
        score = find(votes, "score")
        told.append(f"people's blind votes, adapter vs base model: {score.share(sized=True) if score else 'none'}")
    return told


def verdict(figures: Mapping[str, Any]) -> str:
    """Return who wins by figures of comparisons, or of votes: the interval of the win rate is on one side of a half."""
    score = find(figures, "score")
    if score is None or score.low is None or score.high is None:
        return NO_INTERVAL
    if figures["wins"] + figures["losses"] < ENOUGH_DECIDED:
        return "too few decided"
    if score.low > 0.5:
        return "the first wins"
    return "the second wins" if score.high < 0.5 else "no winner shown"
