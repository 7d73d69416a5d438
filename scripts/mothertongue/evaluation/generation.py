"""Prompting the systems that an evaluation compares, and generating their answers.

The baselines are the base model alone, with a system prompt, and with few-shot examples.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mothertongue.common.progress import Progress, log
from mothertongue.evaluation.answer_metrics import Answer, judge
from mothertongue.evaluation.held_out import Prompt
from mothertongue.evaluation.loaded_models import Evaluated
from mothertongue.evaluation.systems import System
from mothertongue.models import answering, causal_lm
from mothertongue.prompts import templates
from mothertongue.prompts.templates import Message, Template

# The prompts of a batch, on which answers in bfloat16 depend.
BATCH_SIZE = answering.BATCH_SIZE
# Maximum share of the context window for few-shot examples.
_EXAMPLES_SHARE = 0.5


# Answers of a model, by its name, to conversations: the text, and whether the model ended it. The last argument takes
# the number of new answers.
Answering = Callable[[str, Sequence[list[Message]], Callable[[int], None]], Sequence[tuple[str, bool]]]


@dataclass(frozen=True)
class Asking:
    """The format of prompts: a chat template, and the system prompt and few-shot examples of systems that use them."""

    tokenizer: Any
    template: Template
    system_prompt: str
    examples: Sequence[Mapping[str, Any]]

    def messages(self, side: System, question: str, own: str = "") -> list[Message]:
        """Return a question with a system's prompt, or in its place the `own` one of the question's conversation."""
        turns = [turn for example in self.examples for turn in example["messages"]] if side.examples else []
        return templates.chat(own or (self.system_prompt if side.system_prompt else ""), question, turns)

    def tokens(self, side: System, question: str, own: str = "") -> list[int]:
        """Tokenize a question with a system's prompt; see `messages`."""
        return templates.encode_prompt(self.messages(side, question, own), self.template, self.tokenizer)


def with_room(asking: Asking, sides: Sequence[System], window: int | None) -> tuple[Asking, list[System]]:
    """Return the prompt format with as many examples as fit into the window, and the systems.

    Systems with examples are left out where no example fits.
    """
    shown = next(side for side in sides if side.examples)
    known = [example for example, _ in templates.encode_known(asking.examples, asking.template, asking.tokenizer)]

    def too_long(count: int) -> bool:
        tokens = replace(asking, examples=known[:count]).tokens(shown, "")
        return window is not None and len(tokens) > _EXAMPLES_SHARE * window

    count = bisect_left(range(1, len(known) + 1), True, key=too_long)
    return replace(asking, examples=known[:count]), [side for side in sides if count or not side.examples]


def known_as_text(found: Sequence[Prompt], asking: Asking, sides: Sequence[System]) -> list[Prompt]:
    """Return the prompts without control tokens in any system; log the number of the others."""

    def known(prompt: Prompt) -> bool:
        try:
            return all(asking.tokens(side, prompt.text, prompt.system) for side in sides)
        except templates.ControlText:
            return False

    kept = [prompt for prompt in found if known(prompt)]
    if refused := len(found) - len(kept):
        log(f"evaluate: warning: {refused:,} prompts are left out: they would become control tokens of the model")
    return kept


def that_fit(
    found: Sequence[Prompt], asking: Asking, sides: Sequence[System], window: int | None, answer: int
) -> list[Prompt]:
    """Return the prompts that leave every system room for `answer` tokens, so that all systems answer the same ones."""
    if window is None:
        return list(found)
    return [p for p in found if all(len(asking.tokens(side, p.text, p.system)) + answer <= window for side in sides)]


def longest(asking: Asking, sides: Sequence[System], questions: Sequence[Prompt]) -> int:
    """Return the tokens of the longest prompt of any system."""
    return max((len(asking.tokens(side, q.text, q.system)) for side in sides for q in questions), default=0)


def ask(
    answer: Answering,
    asking: Asking,
    sides: Sequence[System],
    questions: Sequence[Prompt],
    lang: str,
) -> list[Answer]:
    """Let every system answer the same prompts, and judge the answers."""
    progress = Progress("evaluate", len(sides) * len(questions), "answers")
    found: list[Answer] = []
    for side in sides:
        asked = [asking.messages(side, question.text, question.system) for question in questions]
        found += judge(side.name, questions, answer(side.model, asked, progress.advance), lang)
    progress.finish()
    return found


def by_models(evaluated: Evaluated, max_new_tokens: int) -> Answering:
    """Return a function by which the loaded models answer, with greedy decoding."""
    model, tokenizer = evaluated.model, evaluated.tokenizer
    stop, decoding = templates.end_of_turn(evaluated.template, tokenizer), answering.Decoding(max_new_tokens)

    def answer(name: str, asked: Sequence[list[Message]], advance: Callable[[int], None]) -> list[tuple[str, bool]]:
        tokens = [templates.encode_prompt(messages, evaluated.template, tokenizer) for messages in asked]
        with causal_lm.speaking_as(model, name):
            return answering.generate(model, tokenizer, tokens, stop, decoding, BATCH_SIZE, advance)

    return answer
