"""Differences between systems on the same prompts and threads: surer than two intervals of each alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from mothertongue.evaluation import answer_metrics
from mothertongue.evaluation.answer_metrics import Answer
from mothertongue.evaluation.bits_per_byte import ReadOut
from mothertongue.evaluation.bootstrap import Bootstrap
from mothertongue.evaluation.systems import compared


def measure(
    answers: Sequence[Answer], held_out: Mapping[str, ReadOut], bootstrap: Bootstrap
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by system, and by the one that it is compared with, the differences: first minus second.

    `answers` has those of the answers' metrics by kind, `bits_per_byte` those by kind of text; it is missing where both
    systems are one model, or are asked otherwise, which does not change what a model expects of a text.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one, other in compared({answer.side for answer in answers}):
        entry: dict[str, Any] = {"answers": answer_metrics.difference(answers, one.name, other.name, bootstrap)}
        if one.is_plain and other.is_plain:
            entry["bits_per_byte"] = {
                kind: some.difference(one.model, other.model, bootstrap) for kind, some in held_out.items()
            }
        found.setdefault(one.name, {})[other.name] = entry
    return found
