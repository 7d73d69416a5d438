"""The weights of a LoRA adapter, and their merge into base weights: LoRA, rsLoRA and DoRA."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mothertongue.common.errors import UserError
from mothertongue.export.safetensors import open_weights
from mothertongue.model_folders.reading import ADAPTER_WEIGHTS, check_adapter

_PREFIX = "base_model.model."
_PARTS = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_magnitude_vector": "magnitude"}
# What an adapter can contain beside the matrices; scripts/tune.py makes none of these.
_OTHERS = ("modules_to_save", "layer_replication", "lora_bias")
# PEFT wraps a module once for each of its adapted parameters.
_WRAPPED = ".base_layer"


@dataclass(frozen=True)
class Change:
    """The learned change of one parameter: B·A times a scale, and for DoRA the norm of each row.

    For a stack of experts, A has `rank` rows for one expert after the other, and B interleaves the experts' columns.
    """

    rank: int
    scale: float
    a: torch.Tensor
    b: torch.Tensor
    magnitude: torch.Tensor | None = None

    def fold(self, weight: torch.Tensor, expert: int = 0, row: int = 0) -> torch.Tensor:
        """Return the merged weight, computed in 32 bits; of an expert, `weight` may be the rows from `row` on."""
        if weight.dim() == 3:
            return torch.stack([self.fold(one, expert) for expert, one in enumerate(weight)])
        a = self.a.unflatten(0, (-1, self.rank))[expert]
        b = self.b.unflatten(1, (self.rank, -1))[row : row + len(weight), :, expert]
        folded = weight.float() + self.scale * (b.float() @ a.float())
        if self.magnitude is None:
            return folded
        return folded * (self.magnitude.float() / torch.linalg.vector_norm(folded, dim=1)).unsqueeze(1)


def read_lora(adapter: Path, parameters: Sequence[str]) -> dict[str, Change]:
    """Return the changes of an adapter folder by parameter; `parameters` are those of the base model, in order.

    Raise UserError where the folder is not an adapter, or of a kind that cannot be merged.
    """
    config = check_adapter(adapter)
    strange = [name for name in _OTHERS if config.get(name)]
    if config.get("bias", "none") != "none":
        strange.append("bias")
    if config.get("peft_type") != "LORA" or config.get("fan_in_fan_out") or strange:
        what = ", ".join(strange) or config.get("peft_type")
        raise UserError(f"{adapter}: an adapter with {what} cannot be merged; plain LoRA, rsLoRA and DoRA can")
    file = open_weights(adapter / ADAPTER_WEIGHTS)
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name in file.entries:
        ending = next((ending for ending in _PARTS if name.endswith(ending)), None)
        if ending is None:
            raise UserError(
                f"{adapter}: '{name}' is not part of a linear layer's LoRA, and nothing else is merged; tune it anew, "
                "and leave what it belongs to out of tuning.lora.targets"
            )
        module = name.removeprefix(_PREFIX).removesuffix(ending)
        parts.setdefault(module, {})[_PARTS[ending]] = file.read(name)
    changes = {}
    for module, found in parts.items():
        parameter = _parameter(module, config.get("target_parameters") or [], parameters)
        rank, scale = _rank_and_scale(config, parameter)
        if not _fit(rank, **found):
            raise UserError(f"{file.path}: the weights of {module} do not belong together, or to the configuration")
        changes[parameter] = Change(rank, scale, **found)
    return changes


def _fit(
    rank: int, a: torch.Tensor | None = None, b: torch.Tensor | None = None, magnitude: torch.Tensor | None = None
) -> bool:
    """Return whether the weights of a change have consistent shapes; see Change."""
    if a is None or b is None or a.dim() != 2 or b.dim() != 2 or len(a) != b.shape[1] or len(a) % rank or not len(a):
        return False
    return magnitude is None or magnitude.shape == b.shape[:1]


def _parameter(module: str, targets: Sequence[str], parameters: Sequence[str]) -> str:
    """Return the parameter that a module's change belongs to: its weight, or the parameter that PEFT wraps there."""
    plain = module.replace(_WRAPPED, "")
    own = [name for name in parameters if name.rpartition(".")[0] == plain]
    wrapped = [name for name in own if any(f".{name}".endswith(f".{target}") for target in targets)]
    # The first one is wrapped innermost.
    return wrapped[-1 - module.count(_WRAPPED)] if wrapped else f"{module}.weight"


def _rank_and_scale(config: dict[str, Any], parameter: str) -> tuple[int, float]:
    """Return a parameter's rank and the scale of its B·A, which patterns of names in the configuration may set."""

    def of(kind: str, default: int) -> int:
        patterns: dict[str, int] = config.get(kind) or {}
        return next((patterns[one] for one in patterns if re.match(rf"(.*\.)?({one})$", name)), default)

    name = parameter.removesuffix(".weight")
    # PEFT's defaults.
    rank, alpha = of("rank_pattern", config.get("r", 8)), of("alpha_pattern", config.get("lora_alpha", 8))
    return rank, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
