"""An adapter folded into its base model: a model of its own, written shard by shard in the base model's own numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mothertongue import causal, prompts
from mothertongue.errors import UserError
from mothertongue.files import copy_files, read_json, write_json
from mothertongue.linear_layers import linear_layers
from mothertongue.lora import read_lora
from mothertongue.plain_templates import without_marks
from mothertongue.progress import Progress
from mothertongue.weight_files import weights_of

FULL, DEQUANTIZED = "full", "dequantized"
# Of an adapter that is trained on 4 bits: the weights as they were fetched, or as training saw them.
MERGE_BASES = (FULL, DEQUANTIZED)
# What belongs to the tokenizer comes from the adapter, with the template that it was trained in.
_FROM_BASE = ("config.json", "generation_config.json", "*.safetensors.index.json", "tokenizer.model")


def trained_in(record: Mapping[str, Any]) -> str:
    """The numbers that an adapter was trained in, from its training.json; older ones tell of the setting alone."""
    return record.get("dtype") or record["settings"]["dtype"]


def merge(adapter: Path, base: Path, merge_base: str, dtype: str, folder: Path) -> None:
    """Write the merged model into a folder, with configuration, tokenizer and chat template.

    `dtype` is what the adapter was trained in. Raises UserError, before anything is written, where adapter and base
    model do not belong together.
    """
    lora, files = read_lora(adapter), list(weights_of(base))
    there = {name for file in files for name in file.entries}
    missing = [module for module in lora.changes if f"{module}.weight" not in there]
    if missing or not files:
        raise UserError(f"{base}: has no weight '{(missing or ['any'])[0]}.weight' to merge the adapter {adapter} into")
    linear = linear_layers(base) if merge_base == DEQUANTIZED else []
    quantised = {f"{layer.name}.weight" for layer in linear} & there
    changed = {f"{module}.weight" for module in lora.changes}

    def change(name: str, weight: torch.Tensor) -> torch.Tensor:
        weight = _through_nf4(weight.to(causal.as_dtype(dtype))) if name in quantised else weight
        return lora.fold(name.removesuffix(".weight"), weight) if name in changed else weight

    copy_files(base, _FROM_BASE, folder)
    copy_files(adapter, causal.TOKENIZER_FILES, folder)
    template = folder / "chat_template.jinja"
    template.write_text(without_marks(template.read_text(encoding="utf-8")), encoding="utf-8")
    _stop_at_the_end_of_turn(adapter, folder)
    progress = Progress("merge", len(there), "weights")
    for file in files:
        file.rewrite(folder / file.path.name, changed | quantised, change, progress.advance)
    progress.finish()


def _stop_at_the_end_of_turn(adapter: Path, folder: Path) -> None:
    """Let answers end where the adapter has learned to end them; the base model may know another end alone."""
    tokenizer = causal.load_tokenizer(adapter)
    stop = prompts.end_of_turn(prompts.with_tokens_of(prompts.read_template(adapter), tokenizer), tokenizer)
    path = folder / "generation_config.json"
    settings = read_json(path) if path.is_file() else {}
    known = settings.get("eos_token_id") or read_json(folder / "config.json").get("eos_token_id") or []
    known = known if isinstance(known, list) else [known]
    write_json(path, settings | {"eos_token_id": [stop, *(token for token in known if token != stop)]})


def _through_nf4(weight: torch.Tensor) -> torch.Tensor:
    """A weight as training on 4 bits sees it: quantised as `causal.load_base` does, and back."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    on_device = weight.to(causal.device())
    packed, state = quantize_4bit(on_device, quant_type="nf4", compress_statistics=True)
    return dequantize_4bit(packed, state).cpu()
