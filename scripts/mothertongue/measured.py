"""Numbers of an evaluation as metrics.json has them: a value, the interval around it, and of how many it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Measured:
    """A mean with its bootstrap interval; `low` and `high` are None where there is none."""

    value: float
    low: float | None
    high: float | None
    n: int | None

    def share(self) -> str:
        """As a percentage with its interval: `83% (62-100)`."""
        return f"{100 * self.value:.0f}%{self._interval(100, 0)}"

    def number(self, digits: int) -> str:
        """As a number with its interval."""
        return f"{self.value:.{digits}f}{self._interval(1, digits)}"

    def _interval(self, factor: float, digits: int) -> str:
        if self.low is None or self.high is None:
            return ""
        return f" ({factor * self.low:.{digits}f}–{factor * self.high:.{digits}f})"


def find(metrics: Any, *path: str) -> Measured | None:
    """The number at a path of metrics.json; None where there is none."""
    for key in path:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    if not isinstance(metrics, Mapping) or not isinstance(metrics.get("value"), int | float):
        return None
    return Measured(metrics["value"], metrics.get("low"), metrics.get("high"), metrics.get("n"))
