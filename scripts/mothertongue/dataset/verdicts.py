"""Verdicts of people on translations, and the share of each with its interval."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

VERDICTS = ("good", "acceptable", "wrong")
# Fewer judged messages than these give no share of wrong translations that says anything.
ENOUGH = 30
_Z = 1.959964


def table(account: Mapping[str, Any] | None, names: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the verdicts on the random sample with a label each: of all, of each source language, of each model.

    `account` is the result of corrections.account, None where nobody corrected anything; `names` are the languages'.
    """
    sample = account["sample"] if account else {"total": {}, "by_source": {}, "by_model": {}}
    sources = [(f"from {names.get(code, code)}", entry) for code, entry in sample["by_source"].items()]
    models = [(f"by {name}", entry) for name, entry in _by_short_name(sample["by_model"])]
    return [("all", sample["total"]), *sources, *models] if account else []


def _by_short_name(entries: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the entries of models (owner/a@1+b@2) by their last names (a + b); by both in full where two are alike."""
    short = [" + ".join(_last_name(model) for model in models.split("+")) for models in entries]
    names = [name if short.count(name) == 1 else models for name, models in zip(short, entries, strict=True)]
    return list(zip(names, entries.values(), strict=True))


def _last_name(model: str) -> str:
    """Return the last part of a model's name, without its revision."""
    name, _, _ = model.rpartition("@")
    return (name or model).rpartition("/")[2]


def shares(verdicts: Sequence[str]) -> dict[str, Any]:
    """Return the number of verdicts, and the share of each with its interval; no shares without verdicts."""
    found: dict[str, Any] = {"n": len(verdicts)}
    for verdict in VERDICTS if verdicts else ():
        low, high = wilson(verdicts.count(verdict), len(verdicts))
        value = verdicts.count(verdict) / len(verdicts)
        found[verdict] = {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}
    return found


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the Wilson score interval of 95% of a share."""
    share, square = count / of, _Z**2 / of
    middle, half = share + square / 2, _Z * sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))
