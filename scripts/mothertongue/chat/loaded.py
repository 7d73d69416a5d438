"""An adapter and its base model, loaded once: the adapter is switched off where the base model is to answer."""

from dataclasses import dataclass
from functools import cached_property

import torch

from mothertongue.chat.backends import Hearing
from mothertongue.chat.completions import Asked, Ended, Refusal, Until
from mothertongue.chat.conversation import Speaker
from mothertongue.common.errors import UserError
from mothertongue.formats.votes import SIDES
from mothertongue.models import answering, causal_lm
from mothertongue.prompts import templates

# Below this temperature the likeliest token is taken: scores divided by less exceed the numbers of the GPU, where an
# error of sampling ends the whole process.
_COLDEST = 1e-5


@dataclass(frozen=True)
class Loaded:
    """A speaker with an adapter; its system prompt and decoding are for requests that leave them open."""

    speaker: Speaker

    @cached_property
    def _stop(self) -> int:
        return self.speaker.stop

    def answer(self, asked: Asked, seed: int, heard: Hearing) -> Ended:
        """Answer a request in this thread; see Talker. Raise Refusal where it is too long or cannot be rendered."""
        speaker, until = self.speaker, Until(asked.stop)
        tokens, decoding = self._tokens(asked), self._decoding(asked)

        def on_text(piece: str) -> bool:
            return heard(until.add(piece)) and not until.found

        torch.manual_seed(seed)
        try:
            with causal_lm.speaking_as(speaker.model, asked.model):
                count, ended = answering.stream_to(
                    on_text, speaker.model, speaker.tokenizer, tokens, self._stop, decoding
                )
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise Refusal(
                f"out of memory for a prompt of {len(tokens):,} tokens; start the server with --quantization nf4", 500
            ) from None
        heard(until.rest())
        return Ended("stop" if ended or until.found else "length", len(tokens), count)

    def check(self) -> None:
        """Let each model answer a word. Raise UserError where one cannot."""
        for model in SIDES:
            self.answer(Asked(model, [{"role": "user", "content": "a"}], max_tokens=1), 0, lambda piece: True)

    def _tokens(self, asked: Asked) -> list[int]:
        """Return the tokens of a prompt. An empty system prompt in front stands for none, and not for the default."""
        speaker, messages = self.speaker, asked.messages
        if messages[0] == {"role": "system", "content": ""}:
            messages = messages[1:]
        elif speaker.system_prompt and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": speaker.system_prompt}, *messages]
        try:
            tokens = templates.encode_prompt(messages, speaker.template, speaker.tokenizer)
            causal_lm.check_known(speaker.model, tokens)
        except UserError as error:
            raise Refusal(str(error), param="messages") from None
        window = causal_lm.window(speaker.model)
        if window is not None and len(tokens) >= window:
            raise Refusal(
                f"the conversation has {len(tokens):,} tokens, and the model reads {window:,}, answer included",
                code="context_length_exceeded",
                param="messages",
            )
        return tokens

    def _decoding(self, asked: Asked) -> answering.Decoding:
        own = self.speaker.decoding
        temperature = own.temperature if asked.temperature is None else asked.temperature
        return answering.Decoding(
            asked.max_tokens or own.max_new_tokens,
            temperature if temperature >= _COLDEST else 0.0,
            own.top_p if asked.top_p is None else asked.top_p,
        )
