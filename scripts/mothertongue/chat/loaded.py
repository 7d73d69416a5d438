"""An adapter and its base model, loaded once: the adapter is switched off where the base model is to answer."""

from dataclasses import dataclass
from functools import cached_property

import torch

from mothertongue.chat.backends import Hearing
from mothertongue.chat.conversation import Speaker
from mothertongue.models import answering, causal_lm
from mothertongue.serving.requests import Asked, Ended, Refusal, Until


@dataclass(frozen=True)
class Loaded:
    """A speaker with an adapter; its system prompt and decoding are for requests that leave them open."""

    speaker: Speaker

    @cached_property
    def _stop(self) -> int:
        return self.speaker.stop

    def answer(self, asked: Asked, seed: int, heard: Hearing) -> Ended:
        """Answer a request in this thread; see Talker. Raise Refusal where it is too long or cannot be rendered."""
        speaker, asking, until = self.speaker, self.speaker.asking, Until(asked.stop)
        tokens, decoding = asking.tokens(asked), asking.decoding_of(asked)

        def on_text(piece: str) -> bool:
            return heard(until.add(piece)) and not until.found

        torch.manual_seed(seed)
        try:
            with causal_lm.speaking_as(speaker.model, asked.model):
                count, ended = answering.stream_to(
                    on_text, speaker.model, asking.tokenizer, tokens, self._stop, decoding
                )
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise Refusal(
                f"out of memory for a prompt of {len(tokens):,} tokens; start the server with --quantization nf4", 500
            ) from None
        heard(until.rest())
        return Ended("stop" if ended or until.found else "length", len(tokens), count)
