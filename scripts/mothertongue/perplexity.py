"""Perplexity on held-out threads, of the assistant's tokens: what an export has lost beside the adapter."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mothertongue import causal, evaluated, merging, packed_format, prompts
from mothertongue.fetching import RECORD
from mothertongue.files import read_json
from mothertongue.progress import Progress
from mothertongue.prompts import Encoded

# Longer threads are cut: what stands further back tells little of an export.
_LONGEST = 2048


def encode(threads: Sequence[dict[str, Any]], adapter: Path) -> list[Encoded]:
    """The threads as tokens, in the template that the adapter was trained in; those without an assistant's word not."""
    tokenizer = causal.load_tokenizer(adapter)
    template = prompts.with_tokens_of(prompts.read_template(adapter), tokenizer)
    encoded = [prompts.encode(thread["messages"], template, tokenizer).cut(_LONGEST) for thread in threads]
    return [one for one in encoded if one.targets]


def measure(name: str, model: Any, threads: Sequence[Encoded]) -> float | None:
    """The perplexity of a model; None where there are no threads."""
    progress = Progress(f"perplexity: {name}", len(threads), "held-out threads")
    nats, tokens, window = 0.0, 0, causal.window(model)
    for whole in threads:
        thread = whole.cut(window) if window else whole
        nats += causal.negative_log_likelihood(model, thread.input_ids, thread.labels)
        tokens += thread.targets
        progress.advance()
    progress.finish()
    return math.exp(nats / tokens) if tokens else None


def of_models(adapter: Path, base: Path, merged: Path, threads: Sequence[Encoded]) -> dict[str, float | None]:
    """The perplexity of the adapter on its base model, as it was tuned, and of what is merged of them.

    Of an adapter that is tuned on 4 bits both merges count; the one that is not at hand is made for that.
    """
    settings = read_json(adapter / "training.json")["settings"]
    at_hand = read_json(merged / RECORD)["merge_base"]
    found = {
        "adapter": measure("adapter", evaluated.load(adapter, None, base, settings["quantization"]).model, threads),
        f"merged, {at_hand}": measure(f"merged, {at_hand}", causal.load_base(merged).eval(), threads),
    }
    for other in set(merging.MERGE_BASES) - {at_hand} if settings["quantization"] == "nf4" else ():
        with tempfile.TemporaryDirectory(dir=merged.parent, prefix=".merged-") as scratch:
            merging.merge(adapter, base, other, settings["dtype"], Path(scratch))
            name = f"merged, {other}"
            found[name] = measure(name, causal.load_base(Path(scratch)).eval(), threads)
    return found


def of_packed(folder: Path, threads: Sequence[Encoded]) -> float | None:
    """The perplexity of a model in GPTQ's or AWQ's format, computed in 16 bits."""
    return measure(folder.name, causal.load_weights(folder, packed_format.unpacked(folder)).eval(), threads)
