"""The answers of an evaluation in pairs: of two systems, or of the adapters of two variants, to the same prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.evaluation.comparisons import Comparison
from mothertongue.evaluation.judge_settings import VERSUS
from mothertongue.formats.messages import draw_key

_ADAPTER = "adapter"

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """Two systems by name, `second` of another `variant` where that is not empty, and their answers to prompts.

    `kinds` has the kind of each prompt: native or translated.
    """

    first: str
    second: str
    variant: str
    kinds: Sequence[str]
    comparisons: Sequence[Comparison]


def pairs(
    samples: Sequence[Sample], wanted: Sequence[str], others: Mapping[str, Sequence[Sample]], count: int, seed: int
) -> list[Pair]:
    """Return the answers of the wanted pairs of systems that exist, and of the adapters of other variants.

    `others` has the answers of variants by name. At most `count` prompts are drawn by the seed, the same for all pairs;
    of another variant those that both answered. Raise UserError where no pair exists.
    """
    own = _by_system(samples)
    prompts = sorted({key for answers in own.values() for key in answers}, key=lambda key: draw_key(repr(key), seed))
    found = [
        _pair(first, second, "", own[first], own[second], prompts[:count])
        for first, _, second in (text.partition(VERSUS) for text in wanted)
        if first in own and second in own
    ]
    for variant, rows in others.items():
        answers = _by_system(rows)
        if _ADAPTER in own and _ADAPTER in answers:
            found.append(_pair(_ADAPTER, _ADAPTER, variant, own[_ADAPTER], answers[_ADAPTER], prompts[:count]))
    if not found:
        raise UserError(f"judge.pairs: the evaluation has none of these pairs; its systems are {', '.join(own)}")
    return found


def _by_system(samples: Sequence[Sample]) -> dict[str, dict[tuple[str, str], str]]:
    """Return the answers by system, and by kind and text of the prompt."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    for sample in samples:
        found.setdefault(sample["side"], {})[sample["kind"], sample["prompt"]] = sample["answer"]
    return found


def _pair(
    first: str,
    second: str,
    variant: str,
    own: Mapping[tuple[str, str], str],
    other: Mapping[tuple[str, str], str],
    prompts: Sequence[tuple[str, str]],
) -> Pair:
    both = [key for key in prompts if key in own and key in other]
    comparisons = [
        Comparison(({"role": "user", "content": text},), own[kind, text], other[kind, text], text)
        for kind, text in both
    ]
    return Pair(first, second, variant, [kind for kind, _ in both], comparisons)
