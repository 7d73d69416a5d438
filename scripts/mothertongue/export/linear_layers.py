"""The linear layers of a model, which quantisation changes, and their shapes, from its configuration alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mothertongue.common.errors import UserError
from mothertongue.export.weight_names import places
from mothertongue.model_folders.reading import skeleton

# AutoRound's names of an expert's layers, by the parameter that contains them in transformers.
_EXPERTS = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer by name; its weight has `outputs` rows of `inputs` numbers."""

    name: str
    inputs: int
    outputs: int


def linear_layers(model: Any) -> Sequence[LinearLayer]:
    """Return the linear layers of a model except the output embeddings, which stay in 16 bits."""
    last = model.get_output_embeddings()
    linear = ((name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return [LinearLayer(name, module.in_features, module.out_features) for name, module in linear if module is not last]


def packed_layers(folder: Path, form: str) -> Sequence[LinearLayer]:
    """Return the layers of a model folder that packing changes: linear layers, and experts, which transformers stacks.

    Raise UserError for kinds of models that cannot be packed.
    """
    model = skeleton(folder)
    if _takes_more_than_text(model):
        raise UserError(
            f"{folder}: takes more than text, and such a model cannot be packed as {form}; export the merged model"
        )
    return [*linear_layers(model), *_experts(model, folder, form)]


def row_lengths(folder: Path) -> Counter[int]:
    """Return the number of matrices by row length, embeddings included; of the text modules only."""
    model = skeleton(folder)
    text = model.get_decoder() if _takes_more_than_text(model) else model
    return Counter(weight.shape[-1] for weight in text.parameters() if weight.dim() > 1)


def _takes_more_than_text(model: Any) -> bool:
    return model.config.get_text_config() is not model.config


def _experts(model: Any, folder: Path, form: str) -> list[LinearLayer]:
    """Return the layers of a mixture's experts. Raise UserError where transformers could not load them packed."""
    found = []
    for name, weight in model.named_parameters():
        module, _, parameter = name.rpartition(".")
        if weight.dim() != 3 or isinstance(model.get_submodule(module), torch.nn.Conv1d):
            continue
        packed = {f"{module}.0.{part}.weight": weight.shape[1:] for part in _EXPERTS.get(parameter, ())}
        if not packed or any(place.parameter != name for place in places(model, packed).values()):
            raise UserError(
                f"{folder}: transformers does not load the experts of a {model.config.model_type} model packed as"
                f" {form}; export the merged model or GGUF files"
            )
        found.append(LinearLayer(name, weight.shape[2], weight.shape[1]))
    return found
