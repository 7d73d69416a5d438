"""The answers of an evaluation in pairs: of two systems, or of the adapters of two variants, to the same prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.evaluation.comparisons import Comparison
from mothertongue.evaluation.judge_prompt import Turn
from mothertongue.evaluation.judge_settings import VERSUS
from mothertongue.formats.messages import draw_key

_ADAPTER = "adapter"

# The kind of a prompt, the system message of its conversation (empty for none), and its text.
_Key = tuple[str, str, str]

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


def _by_system(samples: Sequence[Sample]) -> dict[str, dict[_Key, str]]:
    """Return the answers by system and prompt."""
    found: dict[str, dict[_Key, str]] = {}
    for sample in samples:
        key = sample["kind"], sample.get("system", ""), sample["prompt"]
        found.setdefault(sample["side"], {})[key] = sample["answer"]
    return found


def _pair(
    first: str,
    second: str,
    variant: str,
    own: Mapping[_Key, str],
    other: Mapping[_Key, str],
    prompts: Sequence[_Key],
) -> Pair:
    both = [key for key in prompts if key in own and key in other]
    comparisons = [
        Comparison(_turns(system, text), own[kind, system, text], other[kind, system, text], text)
        for kind, system, text in both
    ]
    return Pair(first, second, variant, [kind for kind, _, _ in both], comparisons)


def _turns(system: str, text: str) -> tuple[Turn, ...]:
    before = ({"role": "system", "content": system},) if system else ()
    return (*before, {"role": "user", "content": text})
