"""The metrics of an evaluation as text, for the log and the terminal."""

from collections.abc import Mapping
from typing import Any

from mothertongue.evaluation import compared
from mothertongue.evaluation.estimate import NOT_MEASURED, find
from mothertongue.evaluation.systems import BY_NAME


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """Format bits per byte by model, the share of answers in the language by system, and what the adapter adds."""
    told = []
    for model, kinds in metrics["bits_per_byte"].items():
        found = {kind: find(kinds, kind) for kind in kinds}
        figures = [f"{kind} {measured.number(3, sized=True)}" for kind, measured in found.items() if measured]
        told.append(f"bits per byte, {BY_NAME[model].label}: {', '.join(figures) or NOT_MEASURED}")
    for side, kinds in metrics["answers"].items():
        measured = find(kinds, "all", "in_language")
        share = measured.share(sized=True) if measured else NOT_MEASURED
        told.append(f"answers in the language, {BY_NAME[side].label}: {share}")
    for difference in compared.read(metrics):
        if difference.system.model == "adapter":
            bits = {kind: difference.bits(kind) for kind in ("native", "translated", "english")}
            figures = [
                f"bits per byte, {kind} {compared.told(one, one.change(3))}" for kind, one in bits.items() if one
            ]
            if answers := difference.answers("in_language"):
                figures.append(f"in the language {compared.told(answers, answers.points())}")
            told.append(f"{difference.label}: {'; '.join(figures) or NOT_MEASURED}")
    return told
