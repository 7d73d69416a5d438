"""An evaluation's metrics as tables of a card, and as the hub's model-index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mothertongue.evaluation import compared, judged
from mothertongue.evaluation.estimate import NOT_MEASURED, Estimate, find
from mothertongue.evaluation.systems import BY_NAME

# Metrics of answers, by their key in metrics.json: the label in a table, and the digits of a number; None for a share.
_ANSWERS = {
    "in_language": ("in the language", None),
    "ended": ("end by themselves", None),
    "repetition": ("repetition", 3),
    "chrf": ("chrF", 1),
}
_KINDS = ("native", "translated", "english")

Metrics = Mapping[str, Any]


def values(metrics: Metrics, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that evaluation.md.jinja renders; missing metrics read "not measured".

    `found` is the content of judge.json, empty where there was no judge.
    """
    answers, bits, prompts, settings = (
        _section(metrics, key) for key in ("answers", "bits_per_byte", "prompts", "settings")
    )
    return {
        "files": bool(metrics),
        "prompts": {kind: found["count"] for kind, found in prompts.items()},
        "confidence": settings.get("confidence"),
        "measures": [label for label, _ in _ANSWERS.values()],
        "answers": {
            _label(side): [_format(find(answers, side, "all", name), digits) for name, (_, digits) in _ANSWERS.items()]
            for side in answers or ["adapter"]
        },
        "kinds": _KINDS,
        "bits_per_byte": {
            _label(model): [_format(find(bits, model, kind), 3) for kind in _KINDS] for model in bits or ["adapter"]
        },
        "judged": judged.lines(found) if found else [],
        "differences": {one.label: _difference(one) for one in compared.read(metrics)},
    }


def metrics_index(repository: str, datasets: list[str], metrics: Metrics) -> list[dict[str, Any]]:
    """Return the adapter's metrics as the hub's model-index; empty where nothing was measured.

    Threads are of the dataset's validation split; prompts may come from a file, too, and say so.
    """
    results = []
    for kind in _KINDS:
        answers = {
            (name, label): find(metrics, "answers", "adapter", kind, name) for name, (label, _) in _ANSWERS.items()
        }
        read = {("bits_per_byte", "bits per byte"): find(metrics, "bits_per_byte", "adapter", kind)}
        for data, found in ((_prompts(datasets, kind, metrics), answers), (_threads(datasets, kind), read)):
            measured = [(*names, one) for names, one in found.items() if one]
            if measured:
                values = [{"type": name, "value": one.value, "name": label} for name, label, one in measured]
                results.append({"task": {"type": "text-generation"}, "dataset": data, "metrics": values})
    return [{"name": repository.partition("/")[2], "results": results}] if results else []


def _threads(datasets: list[str], kind: str) -> dict[str, Any]:
    return {"name": f"held-out {kind} threads", "type": datasets[0], "split": "validation"}


def _prompts(datasets: list[str], kind: str, metrics: Metrics) -> dict[str, Any]:
    """Return the prompts' origin: first questions of the validation split, lines of a file, or both."""
    origins = _section(_section(_section(metrics, "prompts"), kind), "from")
    files = [f"{count:,} of {Path(origin).name}" for origin, count in origins.items() if origin != "messages"]
    if not files:
        return {"name": f"held-out {kind} prompts", "type": datasets[0], "split": "validation"}
    own = [f"{origins['messages']:,} of the validation split"] if origins.get("messages") else []
    return {"name": f"held-out {kind} prompts: {', '.join(own + files)}", "type": datasets[0]}


def _difference(one: compared.Difference) -> list[str]:
    """Return the cells of a difference: answers in the language, then bits per byte by kind."""
    cells = [(found := one.answers("in_language")) and (found, found.points())]
    cells += [(bits := one.bits(kind)) and (bits, bits.change(3)) for kind in _KINDS]
    return [compared.told(*cell) if cell else "" for cell in cells]


def _section(metrics: Metrics, name: str) -> Mapping[str, Any]:
    """Return a section of the metrics; empty where it is missing, or in the form of an earlier version."""
    found = metrics.get(name)
    return found if isinstance(found, Mapping) else {}


def _label(side: str) -> str:
    return BY_NAME[side].label if side in BY_NAME else side


def _format(measured: Estimate | None, digits: int | None) -> str:
    if measured is None:
        return NOT_MEASURED
    return measured.share() if digits is None else measured.number(digits)
