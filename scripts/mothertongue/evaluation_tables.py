"""An evaluation's numbers as tables of a card, and as the hub's model-index."""

from collections.abc import Iterator, Mapping
from typing import Any

from mothertongue.sides import BY_NAME

NOT_MEASURED = "not measured"
# Of answers: the name in metrics.json, in a table, and the unit's format.
_ANSWERS = (
    ("in_language", "in the language", "{:.0%}"),
    ("ended", "end by themselves", "{:.0%}"),
    ("repetition", "repetition", "{:.3f}"),
    ("chrf", "chrF", "{:.1f}"),
)
_KINDS = ("native", "translated", "english")

_FILES = (
    "Every answer is in [evaluation/samples.jsonl](evaluation/samples.jsonl), every number with its settings in "
    "[evaluation/metrics.json](evaluation/metrics.json)."
)

Metrics = Mapping[str, Any]


def tables(metrics: Metrics) -> list[str]:
    """The section of a card; what is not in the metrics reads "not measured"."""
    answers, bits, prompts, settings = (
        _section(metrics, key) for key in ("answers", "bits_per_byte", "prompts", "settings")
    )
    asked = ", ".join(f"{found['count']:,} {kind}" for kind, found in prompts.items()) or NOT_MEASURED
    confidence = f"{settings['confidence']:.0%} intervals" if "confidence" in settings else "intervals"
    return [
        "## Evaluation",
        "",
        f"Held-out prompts that every side answered: {asked}. In brackets: {confidence} of the mean. "
        "Repetition is the share of four-word sequences that were said before, chrF the likeness to a reference reply "
        "(of 100).",
        "",
        "| side | " + " | ".join(label for _, label, _ in _ANSWERS) + " |",
        "|---|" + "---:|" * len(_ANSWERS),
        *(
            f"| {BY_NAME[side].label if side in BY_NAME else side} | "
            + " | ".join(_interval(kinds.get("all", {}).get(key), form) for key, _, form in _ANSWERS)
            + " |"
            for side, kinds in answers.items()
        ),
        *([] if answers else ["| adapter | " + " | ".join(NOT_MEASURED for _ in _ANSWERS) + " |"]),
        "",
        "Bits per byte of held-out replies, lower is better:",
        "",
        "| model | " + " | ".join(_KINDS) + " |",
        "|---|" + "---:|" * len(_KINDS),
        *(
            f"| {model} | " + " | ".join(_interval(_entry(kinds, kind), "{:.3f}") for kind in _KINDS) + " |"
            for model, kinds in (bits or {"adapter": {}}).items()
        ),
        *(["", _FILES] if metrics else []),
    ]


def metrics_index(repository: str, datasets: list[str], metrics: Metrics) -> list[dict[str, Any]]:
    """The numbers of the adapter as the hub's model-index; none where nothing was measured."""
    results = [_result(datasets, kind, values) for kind, values in _by_kind(metrics) if values]
    return [{"name": repository.partition("/")[2], "results": results}] if results else []


def _by_kind(metrics: Metrics) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What was measured of the adapter on each kind of held-out data."""
    answers, bits = (_section(metrics, key).get("adapter", {}) for key in ("answers", "bits_per_byte"))
    for kind in _KINDS:
        found = {(key, label): _entry(answers.get(kind, {}), key) for key, label, _ in _ANSWERS}
        found["bits_per_byte", "bits per byte"] = _entry(bits, kind)
        yield (
            kind,
            [
                {"type": key, "value": entry["value"], "name": label}
                for (key, label), entry in found.items()
                if entry and entry["value"] is not None
            ],
        )


def _result(datasets: list[str], kind: str, values: list[dict[str, Any]]) -> dict[str, Any]:
    data = {"name": f"held-out {kind} prompts and threads", "type": datasets[0], "split": "validation"}
    return {"task": {"type": "text-generation"}, "dataset": data, "metrics": values}


def _section(metrics: Metrics, name: str) -> Mapping[str, Any]:
    """A part of the metrics; empty where it is missing, or written by an evaluation that had another form."""
    found = metrics.get(name)
    return found if isinstance(found, Mapping) else {}


def _entry(kinds: Any, name: str) -> dict[str, Any] | None:
    """One measurement; None where it was not made."""
    found = kinds.get(name) if isinstance(kinds, Mapping) else None
    return found if isinstance(found, Mapping) and "value" in found else None


def _interval(entry: Mapping[str, Any] | None, form: str) -> str:
    """A value with its interval."""
    if not entry or entry.get("value") is None:
        return NOT_MEASURED
    low, high = entry.get("low"), entry.get("high")
    interval = f" ({form.format(low)} to {form.format(high)})" if low is not None and high is not None else ""
    return form.format(entry["value"]) + interval
