"""What a model reads for a request, and how its answer is chosen: the same, whatever computes the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.models.answering import Decoding
from mothertongue.prompts import templates
from mothertongue.serving.requests import Asked, Refusal

# In front of messages, it stands for no system prompt, and not for the default one.
_NO_SYSTEM = {"role": "system", "content": ""}
# Below this temperature the likeliest token is taken: scores divided by less exceed the numbers of the GPU, where an
# error of sampling ends the whole process.
_COLDEST = 1e-5


@dataclass(frozen=True)
class Asking:
    """A tokenizer and chat template; system prompt and decoding are for requests that leave them open.

    `window` are the tokens that the model reads, answer included, `rows` those that it knows; None where that is not
    known.
    """

    tokenizer: Any
    template: templates.Template
    system_prompt: str
    decoding: Decoding
    window: int | None = None
    rows: int | None = None

    def with_system(self, messages: Sequence[templates.Message]) -> list[templates.Message]:
        """Return messages with the system prompt; an empty one in front stands for none."""
        if messages[0] == _NO_SYSTEM:
            return list(messages[1:])
        if self.system_prompt and messages[0]["role"] != "system":
            return [{"role": "system", "content": self.system_prompt}, *messages]
        return list(messages)

    def tokens(self, asked: Asked) -> list[int]:
        """Return the tokens of a prompt.

        Raise Refusal where it is too long or cannot be rendered.
        """
        try:
            tokens = templates.encode_prompt(self.with_system(asked.messages), self.template, self.tokenizer)
        except UserError as error:
            raise Refusal(str(error), param="messages") from None
        if self.rows is not None and (highest := max(tokens)) >= self.rows:
            raise Refusal(
                f"a text has the token number {highest:,}, and the model's embeddings have {self.rows:,} rows; its"
                " tokenizer belongs to another model",
                param="messages",
            )
        if self.window is not None and len(tokens) >= self.window:
            raise Refusal(
                f"the conversation has {len(tokens):,} tokens, and the model reads {self.window:,}, answer included",
                code="context_length_exceeded",
                param="messages",
            )
        return tokens

    def decoding_of(self, asked: Asked) -> Decoding:
        """Return how an answer is chosen."""
        own = self.decoding
        temperature = own.temperature if asked.temperature is None else asked.temperature
        return Decoding(
            asked.max_tokens or own.max_new_tokens,
            temperature if temperature >= _COLDEST else 0.0,
            own.top_p if asked.top_p is None else asked.top_p,
        )

    def ends(self) -> list[int]:
        """Return the tokens that end an answer: the template's, and the tokenizer's end of text."""
        return sorted({templates.end_of_turn(self.template, self.tokenizer), self.tokenizer.eos_token_id})


def as_they_are(messages: list[templates.Message]) -> list[templates.Message]:
    """Return messages that `Asking.with_system` gives back unchanged: the system prompt is in them, or not wanted."""
    return messages if messages[0]["role"] == "system" else [_NO_SYSTEM, *messages]
