"""Held-out likelihood in bits per UTF-8 byte of the assistant's text, which is comparable across tokenizers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mothertongue.common.progress import Progress
from mothertongue.evaluation.bootstrap import Bootstrap, ratio
from mothertongue.evaluation.loaded_models import Evaluated
from mothertongue.models import causal_lm
from mothertongue.prompts.templates import encode_known

Thread = Mapping[str, Any]


def bits_per_byte(
    evaluated: Evaluated, kinds: Mapping[str, Sequence[Thread]], bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Return, by model and kind of threads, bits per byte of the assistant's text, end of turn included.

    Threads longer than the context window are truncated, and their bytes scaled by the share of labels kept; threads
    whose question fills the window are skipped. The estimate is None without threads.
    """
    progress = Progress("evaluate", sum(map(len, kinds.values())), "held-out threads")
    measured: dict[str, dict[str, Any]] = {name: {} for name in evaluated.models}
    for kind, threads in kinds.items():
        sizes: list[float] = []
        bits: dict[str, list[float]] = {name: [] for name in evaluated.models}
        for thread, whole in encode_known(threads, evaluated.template, evaluated.tokenizer):
            encoded = whole.cut(evaluated.window) if evaluated.window else whole
            size = assistant_bytes(thread) * encoded.targets / whole.targets
            if size:
                sizes.append(size)
                for name in evaluated.models:
                    with causal_lm.speaking_as(evaluated.model, name):
                        nats = causal_lm.negative_log_likelihood(evaluated.model, encoded.input_ids, encoded.labels)
                    bits[name].append(nats / math.log(2))
            progress.advance()
        for name in evaluated.models:
            found = ratio(bits[name], sizes, bootstrap)
            measured[name][kind] = found and found | {"bytes": round(sum(sizes))}
    progress.finish()
    return measured


def assistant_bytes(thread: Thread) -> int:
    """Return the number of UTF-8 bytes of a thread's assistant messages."""
    return sum(len(message["content"].encode()) for message in thread["messages"] if message["role"] == "assistant")
