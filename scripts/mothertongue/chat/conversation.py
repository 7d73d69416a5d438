"""A model that answers messages, and a conversation with its history."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from mothertongue.chat.prompt_file import Reply
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.model_folders.reading import embedding_rows, read_training
from mothertongue.models import answering, causal_lm, tokenizer_files
from mothertongue.prompts import templates
from mothertongue.prompts.templates import Message
from mothertongue.serving.asking import Asking


@dataclass(frozen=True)
class Speaker:
    """A loaded model, and what it reads; the system prompt is added to conversations without one."""

    model: Any
    asking: Asking

    @classmethod
    def load(
        cls,
        adapter: Path,
        base: Path | None,
        base_only: bool,
        quantization: str,
        system_prompt: str | None,
        decoding: answering.Decoding,
        seed: int,
    ) -> "Speaker":
        """Load an adapter on its base model; `system_prompt` None uses the one from training.

        Raise UserError where the adapter or the base model is missing.
        """
        logging.set_verbosity_error()
        folder = causal_lm.base_of(adapter, base)
        tokenizer, template = tokenizer_files.load_with_template(adapter, embedding_rows(folder))
        if system_prompt is None:
            system_prompt = read_training(adapter, "system_prompt")["system_prompt"]
        model = causal_lm.load_base(folder, quantization)
        if not base_only:
            model = causal_lm.with_adapter(model, adapter)
        torch.manual_seed(seed)
        return cls.of(model.eval(), tokenizer, template, system_prompt, decoding)

    @classmethod
    def of(
        cls, model: Any, tokenizer: Any, template: templates.Template, system_prompt: str, decoding: answering.Decoding
    ) -> "Speaker":
        """Return the speaker of a loaded model."""
        window, rows = causal_lm.window(model), causal_lm.known_tokens(model)
        return cls(model, Asking(tokenizer, template, system_prompt, decoding, window, rows))

    @property
    def stop(self) -> int:
        """The token that ends an answer."""
        return templates.end_of_turn(self.asking.template, self.asking.tokenizer)

    def answer_all(
        self, chats: Mapping[int, list[Message]], batch_size: int, advance: Callable[[int], None]
    ) -> dict[int, Reply]:
        """Answer many conversations, so many at once; see the function of this name."""

        def answer(fitting: Sequence[Fitting]) -> list[Reply]:
            asking, prompts = self.asking, [tokens for _, tokens in fitting]
            found = answering.generate(
                self.model, asking.tokenizer, prompts, self.stop, asking.decoding, batch_size, advance
            )
            return [Reply(*answer) for answer in found]

        return answer_all(chats, self.asking, answer)


# A conversation that fits the model's window, with the system prompt, and its tokens.
Fitting = tuple[list[Message], list[int]]


def fit(asking: Asking, messages: list[Message]) -> Fitting:
    """Drop the oldest exchanges that exceed the context window; return the messages and the prompt's tokens.

    System prompt and last question are always kept. Raise UserError where these alone are too long.
    """
    messages = asking.with_system(messages)
    window = asking.window or float("inf")
    # Reserve at most half of the window for the answer: a large max_new_tokens would leave no room for history.
    room = window - min(asking.decoding.max_new_tokens, window // 2)
    questions = [at for at, message in enumerate(messages) if message["role"] == "user"]

    def without(exchanges: int) -> list[Message]:
        """Return the messages without the oldest exchanges (a question and the messages up to the next one)."""
        return messages[: questions[0]] + messages[questions[exchanges] :]

    def fits(exchanges: int) -> bool:
        return len(templates.encode_prompt(without(exchanges), asking.template, asking.tokenizer)) <= room

    most = len(questions) - 1
    # Usually all exchanges fit; else search the smallest number to drop.
    messages = without(0 if fits(0) else bisect_left(range(most), True, lo=min(1, most), key=fits))
    tokens = templates.encode_prompt(messages, asking.template, asking.tokenizer)
    if len(tokens) >= window:
        raise UserError(f"it has {len(tokens):,} tokens, and the model reads {window:,}, answer included; shorten it")
    return messages, tokens


def answer_all(
    chats: Mapping[int, list[Message]], asking: Asking, answer: Callable[[Sequence[Fitting]], Sequence[Reply]]
) -> dict[int, Reply]:
    """Let `answer` answer many conversations, by the number of each, such as that of its line.

    One that cannot be asked, since it is too long or would become control tokens, has an error in the place of a
    text, and the others are answered. Raise UserError where none can be asked.
    """
    fitting: dict[int, Fitting] = {}
    replies: dict[int, Reply] = {}
    for number, messages in chats.items():
        try:
            fitting[number] = fit(asking, messages)
            _say_dropped(messages, fitting[number][0], f"line {number}: ")
        except UserError as error:
            replies[number] = Reply(None, error=str(error))
    if not fitting:
        number, first = next(iter(replies.items()))
        raise UserError(f"no prompt can be asked; line {number}: {first.error}")
    for number, reply in replies.items():
        log(f"chat: warning: line {number} is not answered: {reply.error}")
    return replies | dict(zip(fitting, answer(list(fitting.values())), strict=True))


@dataclass
class Conversation:
    """A model, and the messages of a conversation so far."""

    speaker: Speaker
    messages: list[Message] = field(default_factory=list)

    def answer(self, question: str) -> str:
        """Answer a message, streaming the text to stdout; add both to the history.

        Raise UserError where the message alone is too long; the history is then unchanged.
        """
        speaker = self.speaker
        asked = [*self.messages, {"role": "user", "content": question}]
        messages, tokens = fit(speaker.asking, asked)
        _say_dropped(asked, messages)
        text = answering.stream(speaker.model, speaker.asking.tokenizer, tokens, speaker.stop, speaker.asking.decoding)
        self.messages = [*messages, {"role": "assistant", "content": text}]
        return text

    def reset(self) -> None:
        """Clear the history."""
        self.messages = []


def _say_dropped(before: list[Message], after: list[Message], where: str = "") -> None:
    count = sum(m["role"] != "system" for m in before) - sum(m["role"] != "system" for m in after)
    if count:
        log(f"chat: {where}longer than the model can read: the {count} oldest messages are forgotten")
