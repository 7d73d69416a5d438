"""A LoRA adapter's weights, and a base weight with them folded in: LoRA, rsLoRA and DoRA."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mothertongue.errors import UserError
from mothertongue.files import read_json
from mothertongue.weight_files import open_weights

_PREFIX = "base_model.model."
_PARTS = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_magnitude_vector": "magnitude"}
# What an adapter can hold beside the matrices; none is made by scripts/tune.py.
_OTHERS = ("modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication", "target_parameters", "lora_bias")


@dataclass(frozen=True)
class Change:
    """What is learned for one weight: B·A to add, and in DoRA the length of each of its rows."""

    a: torch.Tensor
    b: torch.Tensor
    magnitude: torch.Tensor | None = None


@dataclass(frozen=True)
class Lora:
    """An adapter: its changes by the name of the module that they belong to, and the scale of B·A."""

    changes: Mapping[str, Change]
    scale: float

    def fold(self, module: str, weight: torch.Tensor) -> torch.Tensor:
        """A module's weight with its change, computed and given in 32 bits."""
        change = self.changes[module]
        folded = weight.float() + self.scale * (change.b.float() @ change.a.float())
        if change.magnitude is None:
            return folded
        return folded * (change.magnitude.float() / torch.linalg.vector_norm(folded, dim=1)).unsqueeze(1)


def read_lora(adapter: Path) -> Lora:
    """Read an adapter folder. Raises UserError where it is none, or of a kind that cannot be folded in."""
    config = read_json(adapter / "adapter_config.json")
    strange = [name for name in _OTHERS if config.get(name)]
    if config.get("bias", "none") != "none":
        strange.append("bias")
    if config.get("peft_type") != "LORA" or config.get("fan_in_fan_out") or strange:
        what = ", ".join(strange) or config.get("peft_type")
        raise UserError(f"{adapter}: an adapter with {what} cannot be merged; plain LoRA, rsLoRA and DoRA can")
    file = open_weights(adapter / "adapter_model.safetensors")
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name in file.entries:
        ending = next((ending for ending in _PARTS if name.endswith(ending)), None)
        if ending is None:
            raise UserError(f"{adapter}: '{name}' is no part of a LoRA adapter that can be merged")
        module = name.removeprefix(_PREFIX).removesuffix(ending)
        parts.setdefault(module, {})[_PARTS[ending]] = file.read(name)
    rank = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Lora({module: Change(**found) for module, found in parts.items()}, scale)
