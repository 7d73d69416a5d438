"""Held-out likelihood in bits per UTF-8 byte of the assistant's text, which is comparable across tokenizers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mothertongue.common.progress import Progress
from mothertongue.evaluation.bootstrap import Bootstrap, ratio
from mothertongue.evaluation.held_out import Thread
from mothertongue.evaluation.loaded_models import Evaluated
from mothertongue.models import causal_lm
from mothertongue.prompts import templates
from mothertongue.prompts.templates import Template


@dataclass(frozen=True)
class ReadOut:
    """Held-out threads of one kind as models read them, in order.

    `bits` has those of each thread's replies by model, `sizes` the replies' bytes, `trees` the threads' trees.
    """

    bits: dict[str, list[float]]
    sizes: list[float] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)

    def estimate(self, model: str, bootstrap: Bootstrap) -> dict[str, Any] | None:
        """Return a model's bits per byte; None without threads. Threads of one tree are resampled together."""
        found = ratio(self.bits[model], self.sizes, bootstrap, groups=self.trees)
        return found and found | {"bytes": round(sum(self.sizes))}

    def difference(self, model: str, other: str, bootstrap: Bootstrap) -> dict[str, Any] | None:
        """Return how many bits per byte a model needs more than another, on the same threads."""
        more = [one - two for one, two in zip(self.bits[model], self.bits[other], strict=True)]
        return ratio(more, self.sizes, bootstrap, groups=self.trees)


def read(evaluated: Evaluated, kinds: Mapping[str, Sequence[Thread]]) -> dict[str, ReadOut]:
    """Let every model read the threads of each kind; the text is the assistant's, end of turn included.

    Threads longer than the context window are truncated, and their bytes scaled by the share of labels kept; threads
    whose question fills the window are skipped.
    """
    progress = Progress("evaluate", sum(map(len, kinds.values())), "held-out threads")
    margins, control = Margins.of(evaluated.template), templates.special_tokens(evaluated.tokenizer)
    found = {kind: ReadOut({name: [] for name in evaluated.models}) for kind in kinds}
    for kind, threads in kinds.items():
        own = found[kind]
        for thread, whole in templates.encode_known(threads, evaluated.template, evaluated.tokenizer):
            encoded = whole.cut(evaluated.window) if evaluated.window else whole
            size = assistant_bytes(thread, margins, control) * encoded.targets / whole.targets
            if size:
                own.sizes.append(size)
                own.trees.append(thread.get("message_tree_id") or thread["thread_id"])
                for name in evaluated.models:
                    with causal_lm.speaking_as(evaluated.model, name):
                        nats = causal_lm.negative_log_likelihood(evaluated.model, encoded.input_ids, encoded.labels)
                    own.bits[name].append(nats / math.log(2))
            progress.advance()
    progress.finish()
    return found


@dataclass(frozen=True)
class Margins:
    """Whether a chat template keeps the white space before and after a message; others strip it."""

    before: bool
    after: bool

    @classmethod
    def of(cls, template: Template) -> "Margins":
        """Return what a template does with a message that has white space around it."""
        messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "\tx\t"}]
        text = templates.render(messages, template)
        return cls("\tx" in text, "x\t" in text)


def assistant_bytes(thread: Thread, margins: Margins, control: Iterable[str] = ()) -> int:
    """Return the number of UTF-8 bytes of a thread's assistant messages as a template with these margins renders them.

    Control strings are neutralised.
    """
    size = 0
    for message in thread["messages"]:
        if message["role"] == "assistant":
            said = templates.neutralise(message["content"], control)
            said = said if margins.before else said.lstrip()
            size += len((said if margins.after else said.rstrip()).encode())
    return size
