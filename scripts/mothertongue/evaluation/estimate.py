"""Estimates of an evaluation, as in metrics.json: a value, its interval, and the number of items."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured"
NONE_SHOWN = "no difference shown"
NO_INTERVAL = "too few for an interval"


@dataclass(frozen=True)
class Estimate:
    """A mean with its bootstrap interval; `low` and `high` are None without an interval.

    `groups` is the number of groups that the items were resampled in, where that is less than `n`: trees of threads.
    """

    value: float
    low: float | None
    high: float | None
    n: int | None
    groups: int | None = None

    def share(self, sized: bool = False) -> str:
        """Format as a percentage with its interval: `83% (62–100)`; `sized` adds n: `83% (62–100, n 24)`."""
        return self._told(100, 0, "%", sized)

    def number(self, digits: int, sized: bool = False) -> str:
        """Format as a number with its interval; `sized` adds n."""
        return self._told(1, digits, "", sized)

    @property
    def verdict(self) -> str:
        """What is to be said beside an estimate of a difference: that it shows none, or that nothing tells."""
        if self.low is None or self.high is None:
            return NO_INTERVAL
        return "" if self.is_shown else NONE_SHOWN

    @property
    def is_shown(self) -> bool:
        """Whether an estimate of a difference shows one: its interval does not hold zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def points(self) -> str:
        """Format a difference of shares, in percentage points, with its interval: `+15 points (-5 to +35)`."""
        bounds = [bound for bound in (self.value, self.low, self.high) if bound]
        return self._change(100, 0 if all(abs(bound) >= 0.01 for bound in bounds) else 1, " points")

    def change(self, digits: int) -> str:
        """Format a difference of numbers with its interval: `-0.141 (-0.176 to -0.115)`."""
        return self._change(1, digits, "")

    def _change(self, factor: float, digits: int, unit: str) -> str:
        value = f"{factor * self.value:+.{digits}f}{unit}"
        if self.low is None or self.high is None:
            return value
        return f"{value} ({factor * self.low:+.{digits}f} to {factor * self.high:+.{digits}f})"

    def _told(self, factor: float, digits: int, unit: str, sized: bool) -> str:
        beside = []
        if self.low is not None and self.high is not None:
            beside.append(f"{factor * self.low:.{digits}f}–{factor * self.high:.{digits}f}")
        if sized and self.n is not None:
            beside.append(f"n {self.n:,}")
        return f"{factor * self.value:.{digits}f}{unit}" + (f" ({', '.join(beside)})" if beside else "")


def find(metrics: Any, *path: str) -> Estimate | None:
    """Return the estimate at a path of keys in metrics.json; None where there is none."""
    for key in path:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    if not isinstance(metrics, Mapping) or not isinstance(metrics.get("value"), int | float):
        return None
    return Estimate(*(metrics.get(name) for name in ("value", "low", "high", "n", "groups")))  # type: ignore[arg-type]
