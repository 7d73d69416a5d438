"""The merge of an adapter into its base model, written shard by shard in the base model's dtype."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mothertongue.common.atomic_files import read_object, write_json
from mothertongue.common.errors import UserError
from mothertongue.common.progress import Progress
from mothertongue.export.linear_layers import linear_layers
from mothertongue.export.lora import Change, read_lora
from mothertongue.export.safetensors import weights_of
from mothertongue.export.weight_names import WeightPlace, places
from mothertongue.model_folders import contents
from mothertongue.model_folders.reading import embedding_rows, skeleton
from mothertongue.models import causal_lm, tokenizer_files
from mothertongue.prompts import templates
from mothertongue.prompts.template_parts import without_marks

FULL, DEQUANTIZED = "full", "dequantized"
# For adapters trained in 4 bits: the weights as they were fetched, or as training dequantised them.
MERGE_BASES = (FULL, DEQUANTIZED)
# The other tokenizer files come from the adapter, with the template that it was trained in.
_FROM_BASE = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "model.safetensors.index.json",
    "tokenizer.model",
)

# The keys that are read from an adapter's training.json.
NEEDED = ("settings.quantization", "settings.dtype", "dtype")


def trained_in(record: Mapping[str, Any]) -> str:
    """Return the dtype that an adapter was trained in, from its training.json; older ones have only the setting."""
    return record.get("dtype") or record["settings"]["dtype"]


def merge(adapter: Path, base: Path, merge_base: str, dtype: str, folder: Path) -> None:
    """Write the merged model to a folder, with configuration, tokenizer and chat template.

    `dtype` is the one that the adapter was trained in. Raise UserError, before anything is written, where adapter and
    base model do not match.
    """
    contents.check(adapter)
    model, files = skeleton(base), list(weights_of(base))
    shapes = {name: entry.shape for file in files for name, entry in file.entries.items()}
    found = places(model, shapes)
    parameters = dict(model.named_parameters())
    changes = read_lora(adapter, list(parameters))
    if unfit := _unfit(changes, parameters, found, shapes):
        raise UserError(f"{base}: has no weight '{unfit}' that the adapter {adapter} can be merged into")
    if damaged := _damaged(model, found, shapes):
        raise UserError(f"{base}: its weight '{damaged}' is missing, or of another shape than config.json says")
    linear = {f"{layer.name}.weight" for layer in linear_layers(model)} if merge_base == DEQUANTIZED else set()
    quantised = {name for name, place in found.items() if place.parameter in linear}
    changed = {name for name, place in found.items() if place.parameter in changes}

    def change(name: str, weight: torch.Tensor) -> torch.Tensor:
        weight = _through_nf4(weight.to(causal_lm.as_dtype(dtype))) if name in quantised else weight
        if name not in changed:
            return weight
        place = found[name]
        return changes[place.parameter].fold(weight, place.expert, place.row)

    contents.copy(base, _FROM_BASE, folder)
    tokenizer, template = tokenizer_files.load_with_template(adapter, embedding_rows(base))
    tokenizer_files.save(tokenizer, folder)
    (folder / "chat_template.jinja").write_text(without_marks(template.source), encoding="utf-8")
    _stop_at(templates.end_of_turn(template, tokenizer), folder)
    progress = Progress("merge", len(shapes), "weights")
    for file in files:
        file.rewrite(folder / file.path.name, changed | quantised, change, progress.advance)
    progress.finish()


def _stop_at(stop: int, folder: Path) -> None:
    """Set the adapter's end-of-turn token as the first that ends answers; the base model may use another."""
    path = folder / "generation_config.json"
    settings = read_object(path) if path.is_file() else {}
    known = settings.get("eos_token_id") or read_object(folder / "config.json").get("eos_token_id") or []
    known = known if isinstance(known, list) else [known]
    if not all(isinstance(token, int) for token in known):
        raise UserError(
            f"{path.name}, config.json: eos_token_id is not the number of a token; the base model is damaged"
        )
    write_json(path, settings | {"eos_token_id": [stop, *(token for token in known if token != stop)]})


def _damaged(model: Any, found: Mapping[str, WeightPlace], shapes: Mapping[str, Sequence[int]]) -> str | None:
    """Return a weight that a model's files lack, or have in another shape than the model; None where there is none.

    Weights that transformers computes from others count as present.
    """
    parameters = dict(model.named_parameters())
    parts = Counter(place.parameter for place in found.values())
    for name, place in found.items():
        weight = parameters.get(place.parameter)
        # Each part of a stack has only some of its rows.
        if weight is not None and parts[place.parameter] == 1 and list(weight.shape) != list(shapes[name]):
            return name
    if len(found) < len(shapes):
        return None
    ignored = [*(model._keys_to_ignore_on_load_missing or ()), *map(re.escape, model.all_tied_weights_keys)]
    lacking = (name for name in parameters if name not in parts and not any(re.search(one, name) for one in ignored))
    return next(lacking, None)


def _unfit(
    changes: Mapping[str, Change],
    parameters: Mapping[str, torch.Tensor],
    found: Mapping[str, WeightPlace],
    shapes: Mapping[str, Sequence[int]],
) -> str | None:
    """Return an adapted parameter that the model lacks or has in another shape, or that its files lack in part.

    Return "any" where the adapter changes nothing, None where all parameters fit.
    """
    sizes: Counter[str] = Counter()
    for name, place in found.items():
        sizes[place.parameter] += math.prod(shapes[name])
    for name, change in changes.items():
        weight = parameters.get(name)
        shape = (len(change.b), change.a.shape[1])
        if weight is None or weight.shape[-2:] != shape or weight.numel() != sizes[name]:
            return name
    return None if changes else "any"


def _through_nf4(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as 4-bit training uses it: quantised as in `causal_lm.load_base`, and dequantised."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    on_device = weight.to(causal_lm.device())
    packed, state = quantize_4bit(on_device, quant_type="nf4", compress_statistics=True)
    return dequantize_4bit(packed, state).cpu()
