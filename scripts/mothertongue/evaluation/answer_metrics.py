"""Answers to held-out prompts, and what is measured on them: language, end, repetition, likeness to the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mothertongue.common.language_id import speaks
from mothertongue.common.languages import UNSPACED
from mothertongue.evaluation.bootstrap import Bootstrap, mean
from mothertongue.evaluation.held_out import KINDS, Prompt

# Words that make up a repeated sequence: seq-rep-4 of Welleck et al., "Neural Text Generation with Unlikelihood
# Training", 2019 (arXiv:1908.04319), here of words so that tokenizers compare.
_SEQUENCE = 4
# What is measured, with its digits.
MEASURES = {"in_language": 4, "ended": 4, "repetition": 4, "chrf": 2}


@dataclass(frozen=True)
class Answer:
    """One answer of one side to one prompt.

    `in_language` is None where the identifier does not know the language, `chrf` (0 to 100) without a reference.
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


def judge(side: str, prompts: Sequence[Prompt], answers: Sequence[tuple[str, bool]], lang: str) -> list[Answer]:
    """Judge the answers of one side; each comes with whether the model ended it by itself."""
    return [
        Answer(
            side=side,
            kind=prompt.kind,
            origin=prompt.origin,
            prompt=prompt.text,
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
    """The share of an answer's sequences of four words (letters, where words are unspaced) that it had said before."""
    words = [letter for letter in answer if letter.isalnum()] if lang in UNSPACED else answer.casefold().split()
    sequences = [tuple(words[at : at + _SEQUENCE]) for at in range(len(words) - _SEQUENCE + 1)]
    return round(1 - len(set(sequences)) / len(sequences), 4) if sequences else 0.0


def likeness(answer: str, reference: str) -> float:
    """chrF (Popović, 2015), 0 to 100: weak evidence, for there are many good answers to a question."""
    return round(_chrf().sentence_score(answer, [reference]).score, 2)


def measure(answers: Sequence[Answer], bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """By side and kind (`all` first), each measure's mean with its interval; None where nothing can be measured."""
    measured: dict[str, dict[str, Any]] = {}
    for side in dict.fromkeys(answer.side for answer in answers):
        own = [answer for answer in answers if answer.side == side]
        kinds = {"all": own} | {kind: [answer for answer in own if answer.kind == kind] for kind in KINDS}
        measured[side] = {kind: _estimates(some, bootstrap) for kind, some in kinds.items() if some}
    return measured


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
