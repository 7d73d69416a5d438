"""The differences between systems in metrics.json, for its readers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.evaluation.estimate import Estimate, find
from mothertongue.evaluation.systems import BY_NAME, System


@dataclass(frozen=True)
class Difference:
    """What `system` has more than `other`, on the same prompts and threads; see evaluation/differences.py."""

    system: System
    other: System
    entry: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The two systems as a subtraction: `adapter - base model`."""
        return f"{self.system.label} - {self.other.label}"

    def answers(self, measure: str, kind: str = "all") -> Estimate | None:
        """Return the difference of a metric of the answers; None where it was not measured."""
        return find(self.entry, "answers", kind, measure)

    def bits(self, kind: str) -> Estimate | None:
        """Return the difference in bits per byte of a kind of text; None where it was not measured."""
        return find(self.entry, "bits_per_byte", kind)


def read(metrics: Mapping[str, Any] | None) -> list[Difference]:
    """Return the differences of metrics.json in its order; none for one of an earlier version."""
    found = (metrics or {}).get("differences", {})
    return [
        Difference(BY_NAME[one], BY_NAME[other], entry)
        for one, others in found.items()
        for other, entry in others.items()
    ]


def between(metrics: Mapping[str, Any] | None, system: str, other: str) -> Difference:
    """Return the difference of two systems, whose estimates are None where it was not measured."""
    same = (one for one in read(metrics) if (one.system.name, one.other.name) == (system, other))
    return next(same, Difference(BY_NAME[system], BY_NAME[other], {}))


def told(found: Estimate, text: str) -> str:
    """Return a difference's text, which says so where its interval shows none."""
    return f"{text}, {found.verdict}" if found.verdict else text
