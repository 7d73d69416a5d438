"""Means and ratios with confidence intervals, by the percentile bootstrap (Efron & Tibshirani, 1993, chapter 13)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bootstrap:
    """The parameters of intervals: number of resamples, confidence level (a share), seed."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 42


def mean(values: Sequence[float], bootstrap: Bootstrap, digits: int = 4) -> dict[str, Any] | None:
    """Return the mean of `n` values with its interval: `value`, `low`, `high`, `n`; None without values.

    A single value has no interval (`low` and `high` are None); equal values have one of width zero.
    """
    return ratio(values, [1.0] * len(values), bootstrap, digits)


def ratio(
    parts: Sequence[float],
    wholes: Sequence[float],
    bootstrap: Bootstrap,
    digits: int = 4,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, Any] | None:
    """Return the sum of the parts over the sum of the wholes with its interval, in the format of `mean`.

    Pairs are resampled, so that the interval reflects the choice of items. Items of one of the `groups` are drawn
    together, since they are alike; the number of groups is `groups` where it is less than `n`.
    """
    if not parts:
        return None
    import numpy as np

    above, below = np.asarray(parts, dtype=float), np.asarray(wholes, dtype=float)
    n = len(above)
    if groups is not None:
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        where = [numbers[group] for group in groups]
        above, below = np.bincount(where, weights=above), np.bincount(where, weights=below)
    drawn = np.random.default_rng(bootstrap.seed).integers(len(above), size=(bootstrap.resamples, len(above)))
    ratios = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
    outside = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(ratios, [outside, 1 - outside]) if len(above) > 1 else (None, None)
    bounds = {
        name: None if bound is None else round(float(bound), digits) for name, bound in (("low", low), ("high", high))
    }
    counts = {"n": n} | ({"groups": len(above)} if len(above) < n else {})
    return {"value": round(float(above.sum() / below.sum()), digits)} | bounds | counts
