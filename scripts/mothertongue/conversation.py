"""A conversation with an adapter that remembers what was said."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers.utils import logging

from mothertongue import causal, prompts
from mothertongue.files import read_json


@dataclass
class Conversation:
    """A loaded model and the messages so far."""

    model: Any
    tokenizer: Any
    template: prompts.Template
    system_prompt: str
    max_new_tokens: int
    messages: list[prompts.Message] = field(default_factory=list)

    @classmethod
    def load(
        cls,
        adapter: Path,
        base: Path | None,
        base_only: bool,
        system_prompt: str | None,
        max_new_tokens: int,
    ) -> "Conversation":
        """Load an adapter on its base model; `system_prompt` None for the one of the training.

        Raises UserError where adapter or base model is not to be found.
        """
        logging.set_verbosity_error()
        model = causal.load_base(causal.base_of(adapter, base))
        if not base_only:
            model = causal.with_adapter(model, adapter)
        if system_prompt is None:
            system_prompt = read_json(adapter / "training.json")["system_prompt"]
        tokenizer = causal.load_tokenizer(adapter)
        template = prompts.with_tokens_of(prompts.read_template(adapter), tokenizer)
        return cls(model.eval(), tokenizer, template, system_prompt, max_new_tokens)

    def answer(self, question: str) -> str:
        """Answer a message, streaming the words to stdout; both are remembered."""
        self.messages += prompts.chat("" if self.messages else self.system_prompt, question)
        prompt = prompts.encode_prompt(self.messages, self.template, self.tokenizer)
        stop = prompts.end_of_turn(self.template, self.tokenizer)
        text = causal.stream(self.model, self.tokenizer, prompt, stop, self.max_new_tokens)
        self.messages.append({"role": "assistant", "content": text})
        return text

    def reset(self) -> None:
        """Forget what was said."""
        self.messages = []
