"""An evaluation's numbers as tables of a card, and as the hub's model-index."""

from collections.abc import Mapping
from typing import Any

from mothertongue.cards.render import markdown, row
from mothertongue.evaluation.estimate import NOT_MEASURED, Measured, find
from mothertongue.evaluation.systems import BY_NAME

# Of answers, by their name in metrics.json: the name in a table, and the digits of a number; None for a share.
_ANSWERS = {
    "in_language": ("in the language", None),
    "ended": ("end by themselves", None),
    "repetition": ("repetition", 3),
    "chrf": ("chrF", 1),
}
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
    asked = ", ".join(f"{found['count']:,} {markdown(kind)}" for kind, found in prompts.items()) or NOT_MEASURED
    confidence = f"{settings['confidence']:.0%} intervals" if "confidence" in settings else "intervals"
    return [
        "## Evaluation",
        "",
        f"Held-out prompts that every side answered: {asked}. In brackets: {confidence} of the mean. An answer is in "
        "the language where every line of five words or more is, by lid.176. Repetition is the share of sequences of "
        "four words (of four letters where words are written without spaces) that were said before, chrF the likeness "
        "to a reference reply (of 100).",
        "",
        *_table(
            ["side", *(label for label, _ in _ANSWERS.values())],
            {
                _label(side): [
                    _told(find(answers, side, "all", name), digits) for name, (_, digits) in _ANSWERS.items()
                ]
                for side in answers or ["adapter"]
            },
        ),
        "",
        "Bits per byte of held-out replies, lower is better:",
        "",
        *_table(
            ["model", *_KINDS],
            {_label(model): [_told(find(bits, model, kind), 3) for kind in _KINDS] for model in bits or ["adapter"]},
        ),
        *(["", _FILES] if metrics else []),
    ]


def metrics_index(repository: str, datasets: list[str], metrics: Metrics) -> list[dict[str, Any]]:
    """The numbers of the adapter as the hub's model-index; none where nothing was measured."""
    results = [_result(datasets, kind, values) for kind in _KINDS if (values := _of_adapter(metrics, kind))]
    return [{"name": repository.partition("/")[2], "results": results}] if results else []


def _of_adapter(metrics: Metrics, kind: str) -> list[dict[str, Any]]:
    """What was measured of the adapter on a kind of held-out data."""
    found = {(name, label): find(metrics, "answers", "adapter", kind, name) for name, (label, _) in _ANSWERS.items()}
    found["bits_per_byte", "bits per byte"] = find(metrics, "bits_per_byte", "adapter", kind)
    return [
        {"type": name, "value": measured.value, "name": label} for (name, label), measured in found.items() if measured
    ]


def _result(datasets: list[str], kind: str, values: list[dict[str, Any]]) -> dict[str, Any]:
    data = {"name": f"held-out {kind} prompts and threads", "type": datasets[0], "split": "validation"}
    return {"task": {"type": "text-generation"}, "dataset": data, "metrics": values}


def _section(metrics: Metrics, name: str) -> Mapping[str, Any]:
    """A part of the metrics; empty where it is missing, or written by an evaluation that had another form."""
    found = metrics.get(name)
    return found if isinstance(found, Mapping) else {}


def _table(columns: list[str], rows: Mapping[str, list[str]]) -> list[str]:
    lines = [row(markdown(name), *cells) for name, cells in rows.items()]
    return [row(*columns), "|---|" + "---:|" * (len(columns) - 1), *lines]


def _label(side: str) -> str:
    return BY_NAME[side].label if side in BY_NAME else side


def _told(measured: Measured | None, digits: int | None) -> str:
    if measured is None:
        return NOT_MEASURED
    return measured.share() if digits is None else measured.number(digits)
