"""Perplexity on the assistant's tokens of held-out threads: the loss of an export against the adapter."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import scratch_folder
from mothertongue.common.errors import UserError
from mothertongue.common.progress import Progress
from mothertongue.evaluation import loaded_models
from mothertongue.export import gptq_awq, merge
from mothertongue.model_folders.reading import embedding_rows, read_training
from mothertongue.models import causal_lm, tokenizer_files
from mothertongue.models.record import read_record
from mothertongue.prompts import templates
from mothertongue.prompts.templates import Encoded

# Longer threads are cut: tokens beyond this length add little to the comparison.
_LONGEST = 2048
# The mean loss is capped here: the exponential of 710 nats overflows a float.
_MOST_NATS = 700.0


def encode(threads: Sequence[dict[str, Any]], adapter: Path, base: Path) -> list[tuple[Encoded, str]]:
    """Return the threads as tokens with their whole texts, in the template that the adapter was trained in.

    Cut the tokens to the base model's context window, and leave out threads without assistant tokens.
    """
    tokenizer, template = tokenizer_files.load_with_template(adapter, embedding_rows(base))
    longest = min(_LONGEST, causal_lm.window_of(base) or _LONGEST)
    given = (template, tokenizer)
    pairs = [
        (encoded.cut(longest), templates.encoded_text(thread["messages"], *given))
        for thread, encoded in templates.encode_known(threads, *given)
    ]
    return [pair for pair in pairs if pair[0].targets]


def measure(name: str, model: Any, threads: Sequence[Encoded]) -> float | None:
    """Return the perplexity of a model; None without threads. Raise UserError where the losses are not finite."""
    progress = Progress(f"perplexity: {name}", len(threads), "held-out threads")
    nats, tokens = 0.0, 0
    for thread in threads:
        nats += causal_lm.negative_log_likelihood(model, thread.input_ids, thread.labels)
        tokens += thread.targets
        progress.advance()
    progress.finish()
    if not tokens:
        return None
    if not math.isfinite(nats):
        raise UserError(f"perplexity of {name}: the model computes no numbers; its weights are damaged or overflow")
    return math.exp(min(nats / tokens, _MOST_NATS))


def of_models(adapter: Path, base: Path, merged: Path, threads: Sequence[Encoded]) -> dict[str, float | None]:
    """Return the perplexities of the adapter on its base model, as it was tuned, and of the merged model.

    For an adapter tuned in 4 bits (nf4) measure both merges, writing the missing one to a scratch folder.
    """
    record = read_training(adapter, *merge.NEEDED)
    settings = record["settings"]
    at_hand = read_record(merged, "merge_base")["merge_base"]
    found = {
        "adapter": measure("adapter", loaded_models.load(adapter, base, settings["quantization"]).model, threads),
        f"merged, {at_hand}": measure(f"merged, {at_hand}", causal_lm.load_base(merged, spread=True).eval(), threads),
    }
    for other in set(merge.MERGE_BASES) - {at_hand} if settings["quantization"] == "nf4" else ():
        with scratch_folder(merged.parent / ".merged-other") as scratch:
            merge.merge(adapter, base, other, merge.trained_in(record), scratch)
            name = f"merged, {other}"
            found[name] = measure(name, causal_lm.load_base(scratch, spread=True).eval(), threads)
    return found


def of_packed(folder: Path, threads: Sequence[Encoded]) -> float | None:
    """Return the perplexity of a model in GPTQ's or AWQ's format, computed in 16 bits."""
    return measure(folder.name, causal_lm.load_weights(folder, gptq_awq.unpacked(folder)).eval(), threads)
