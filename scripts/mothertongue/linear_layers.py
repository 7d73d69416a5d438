"""The linear layers of a model, told from its configuration alone: what quantisation changes, and in which shapes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer by name; a row of its weight has `inputs` numbers, and there are `outputs` rows."""

    name: str
    inputs: int
    outputs: int


def linear_layers(folder: Path) -> Sequence[LinearLayer]:
    """The linear layers of a model folder but the last, which gives the words and stays in 16 bits."""
    model = _skeleton(folder)
    last = model.get_output_embeddings()
    linear = ((name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return [LinearLayer(name, module.in_features, module.out_features) for name, module in linear if module is not last]


def row_lengths(folder: Path) -> Counter[int]:
    """How many of a model's matrices, embeddings included, have rows of each length."""
    return Counter(weight.shape[-1] for weight in _skeleton(folder).parameters() if weight.dim() > 1)


def _skeleton(folder: Path) -> Any:
    """The model without its numbers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
