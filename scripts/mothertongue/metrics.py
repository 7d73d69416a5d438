"""The metrics of an evaluation in words, for the log and the terminal."""

from collections.abc import Mapping
from typing import Any

from mothertongue.sides import BY_NAME

_MODELS = {"base": "base model", "sft": "SFT adapter", "adapter": "adapter"}


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """Bits per byte of each model, and how each side answered."""
    told = []
    for model, kinds in metrics["bits_per_byte"].items():
        figures = [f"{kind} {_interval(found, '{:.3f}')}" for kind, found in kinds.items() if found]
        told.append(f"bits per byte, {_MODELS[model]}: {', '.join(figures) or 'not measured'}")
    for side, kinds in metrics["answers"].items():
        found = kinds["all"]["in_language"]
        told.append(f"answers in the language, {BY_NAME[side].label}: {_interval(found, '{:.0%}') or 'not measurable'}")
    return told


def _interval(found: Mapping[str, Any] | None, form: str) -> str:
    if found is None:
        return ""
    value = form.format(found["value"])
    bounds = "" if found["low"] is None else f"{form.format(found['low'])} to {form.format(found['high'])}, "
    return f"{value} ({bounds}n {found['n']:,})"
