"""Answers to held-out prompts, and their metrics: language, end of turn, repetition, similarity to the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mothertongue.common.language_id import speaks
from mothertongue.common.languages import UNSPACED
from mothertongue.evaluation.bootstrap import Bootstrap, mean
from mothertongue.evaluation.held_out import KINDS, Prompt

# Words of an n-gram for repetition: seq-rep-4 of Welleck et al., "Neural Text Generation with Unlikelihood Training",
# 2019 (arXiv:1908.04319), here with words instead of tokens, for comparison across tokenizers.
_SEQUENCE = 4
# The metrics, with the number of digits that they are rounded to.
MEASURES = {"in_language": 4, "ended": 4, "repetition": 4, "chrf": 2}


@dataclass(frozen=True)
class Answer:
    """The answer of a system to a prompt.

    `in_language` is None where the identifier does not support the language, `chrf` (0 to 100) without a reference;
    `ended` is whether the model ended its turn itself; `system` is the own system message of the prompt's conversation.
    """

    side: str
    kind: str
    origin: str
    prompt: str
    reference: str | None
    answer: str
    in_language: bool | None
    ended: bool
    repetition: float
    chrf: float | None
    system: str = ""


def judge(side: str, prompts: Sequence[Prompt], answers: Sequence[tuple[str, bool]], lang: str) -> list[Answer]:
    """Compute the metrics of a system's answers: pairs of a text, and whether the model ended its turn itself."""
    return [
        Answer(
            side=side,
            kind=prompt.kind,
            origin=prompt.origin,
            prompt=prompt.text,
            system=prompt.system,
            reference=prompt.reference,
            answer=answer,
            in_language=speaks(answer, lang),
            ended=ended,
            repetition=repetition(answer, lang),
            chrf=None if prompt.reference is None else likeness(answer, prompt.reference),
        )
        for prompt, (answer, ended) in zip(prompts, answers, strict=True)
    ]


def repetition(answer: str, lang: str) -> float:
    """Return the share of an answer's 4-grams that repeat an earlier one: of words, or letters in unspaced scripts."""
    words = [letter for letter in answer if letter.isalnum()] if lang in UNSPACED else answer.casefold().split()
    sequences = [tuple(words[at : at + _SEQUENCE]) for at in range(len(words) - _SEQUENCE + 1)]
    return round(1 - len(set(sequences)) / len(sequences), 4) if sequences else 0.0


def likeness(answer: str, reference: str) -> float:
    """Return chrF (Popović, 2015), 0 to 100: weak evidence, since a question has many good answers."""
    return round(_chrf().sentence_score(answer, [reference]).score, 2)


def measure(answers: Sequence[Answer], bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Return, by system and kind (`all` first), the mean of each metric with its interval; None without values."""
    measured: dict[str, dict[str, Any]] = {}
    for side in dict.fromkeys(answer.side for answer in answers):
        own = [answer for answer in answers if answer.side == side]
        kinds = {"all": own} | {kind: [answer for answer in own if answer.kind == kind] for kind in KINDS}
        measured[side] = {kind: _estimates(some, bootstrap) for kind, some in kinds.items() if some}
    return measured


def difference(answers: Sequence[Answer], side: str, other: str, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return, by kind (`all` first), a system's metrics minus another's, on the same prompts, as `measure` does."""
    pairs = list(zip(*([one for one in answers if one.side == name] for name in (side, other)), strict=True))
    kinds = {"all": pairs} | {kind: [pair for pair in pairs if pair[0].kind == kind] for kind in KINDS}
    return {kind: _differences(some, bootstrap) for kind, some in kinds.items() if some}


def _differences(pairs: Sequence[tuple[Answer, Answer]], bootstrap: Bootstrap) -> dict[str, Any]:
    found = {}
    for name, digits in MEASURES.items():
        values = [(getattr(one, name), getattr(other, name)) for one, other in pairs]
        known = [one - other for one, other in values if one is not None and other is not None]
        found[name] = mean(known, bootstrap, digits)
    return found


def _estimates(answers: Sequence[Answer], bootstrap: Bootstrap) -> dict[str, Any]:
    estimates = {}
    for name, digits in MEASURES.items():
        values = [value for answer in answers if (value := getattr(answer, name)) is not None]
        estimates[name] = mean(values, bootstrap, digits)
    return estimates


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()
