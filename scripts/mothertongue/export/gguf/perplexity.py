"""Perplexity of a GGUF file, computed by llama.cpp on given tokens, which its own tokenizer may not reproduce."""

import ctypes
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mothertongue.common.errors import UserError
from mothertongue.common.progress import Progress
from mothertongue.model_folders.gguf_header import check_gguf

# `input_ids` and `labels`, and the `text` whose beginning `input_ids` encode.
Thread = Mapping[str, Any]

# The log of llama.cpp: hundreds of lines, of which only those of an error matter.
_said: list[str] = []
_listener = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
    lambda level, text, data: _said.append(text.decode(errors="replace").strip())
)


@dataclass(frozen=True)
class Perplexity:
    """The perplexity of the labelled tokens, given all tokens before them; None without threads.

    `alike` is how many of the `tokens` given tokens the file's own tokenizer makes from the threads' texts.
    """

    perplexity: float | None
    tokens: int = 0
    alike: int = 0


def format_perplexity(path: Path, found: Perplexity) -> str:
    """Return the measurement as one line."""
    if found.perplexity is None:
        return "no held-out threads"
    share = found.alike / found.tokens
    return f"{path}: {found.perplexity:.3f}; its tokenizer makes {share:.1%} of the threads' tokens as training did"


def measure(path: Path, threads: Sequence[Thread], cores: int) -> Perplexity:
    """Return the perplexity that llama.cpp computes for given tokens, and how many of them its tokenizer reproduces.

    Raise UserError where the file cannot be loaded, or the perplexity is not finite.
    """
    from ik_llama_cpp import _ctypes_api as llama
    from ik_llama_cpp._internals import IkContext, IkModel

    if not threads:
        return Perplexity(None)
    check_gguf(path)
    llama._lib.llama_log_set(_listener, None)
    longest = max(len(thread["input_ids"]) for thread in threads)
    try:
        model = IkModel(str(path))
        context = IkContext(model, n_ctx=longest, n_threads=cores, flash_attn=False)
    except RuntimeError:
        raise UserError(f"{path}: llama.cpp cannot load it: {'; '.join(filter(None, _said[-3:]))}") from None
    progress = Progress("gguf_perplexity", len(threads), "held-out threads")
    nats, tokens, read, alike = 0.0, 0, 0, 0
    for thread in threads:
        found = _losses(context, model.n_vocab, thread)
        nats, tokens = nats + sum(found), tokens + len(found)
        read += len(thread["input_ids"])
        alike += _alike(model.tokenize(thread["text"], add_bos=False, special=True), thread["input_ids"])
        progress.advance()
    progress.finish()
    # A damaged file has logits that are NaN, or losses so large that the perplexity overflows.
    try:
        perplexity = math.exp(nats / tokens)
    except OverflowError:
        perplexity = math.inf
    if not math.isfinite(perplexity):
        raise UserError(
            f"{path}: computes no numbers that have a perplexity: it is damaged, or too coarse for this model; delete"
            " it and make it anew, or take another quantisation"
        )
    return Perplexity(perplexity, read, alike)


def _alike(made: Sequence[int], given: Sequence[int]) -> int:
    """Return how many of the given tokens are also among the made ones, in the same order."""
    blocks = difflib.SequenceMatcher(None, made, given, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)


def _losses(context: Any, entries: int, thread: Thread) -> list[float]:
    """Return -ln p of each labelled token of a thread."""
    from ik_llama_cpp import _ctypes_api as llama
    from ik_llama_cpp._internals import make_batch

    ids, labels = thread["input_ids"], thread["labels"]
    # The logits at position i - 1 predict token i.
    asked = [i - 1 for i, label in enumerate(labels) if label >= 0 and i > 0]
    batch = make_batch(ids, logits_last=False)
    for position in asked:
        batch.logits[position] = 1
    context.kv_cache_clear()
    if context.decode(batch):
        raise UserError(f"llama.cpp cannot read a thread of {len(ids):,} tokens with this model")
    losses = []
    for position in asked:
        logits = np.ctypeslib.as_array(context.get_logits(position), (entries,)).astype(np.float64)
        highest = logits.max()
        losses.append(float(highest + np.log(np.exp(logits - highest).sum()) - logits[labels[position + 1]]))
    llama.llama_batch_free(batch)
    return losses
