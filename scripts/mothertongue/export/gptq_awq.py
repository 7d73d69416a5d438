"""The formats of GPTQ and AWQ: 4-bit weights packed into 32-bit integers, and their dequantisation.

The layouts are those of AutoGPTQ (inputs packed along dimension 0, zero points stored minus one, a group index per
input) and of AutoAWQ's `gemm` (outputs packed along dimension 1 in the order 0 2 4 6 1 3 5 7); other programs read no
others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from mothertongue.common.errors import UserError
from mothertongue.export.linear_layers import LinearLayer
from mothertongue.model_folders.reading import check, weight_paths

FORMS = ("gptq", "awq")
# Numbers of weights that share a scale: most models are packed with 128; smaller groups fit more models.
_GROUPS = (128, 64, 32)
_BITS = 4
_PACK = 32 // _BITS
# The positions of the outputs 0, 1, 2, ... in AWQ's packing.
_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


def group_size(layers: Sequence[LinearLayer], form: str, model: Path) -> int:
    """Return the group size. Raise UserError where a layer cannot be divided into groups and packed."""
    if not layers:
        raise UserError(f"{model}: has no linear layers that can be packed as {form}; export the merged model")
    odd = next((layer for layer in layers if layer.inputs % _GROUPS[-1] or layer.outputs % _PACK), None)
    if odd:
        raise UserError(
            f"{model}: {odd.name}, {odd.outputs} rows of {odd.inputs} weights, cannot be packed as {form}, which takes"
            f" {_PACK} rows at once, in multiples of {_GROUPS[-1]} weights; export gguf/q8_0 or the merged model"
        )
    return next(size for size in _GROUPS if not any(layer.inputs % size for layer in layers))


def unpacked(folder: Path) -> dict[str, torch.Tensor]:
    """Return a packed model's weights by name, the packed ones dequantised to the 16 bits of their scales.

    Raise UserError where the model is packed in neither format, or packed weights are inconsistent.
    """
    settings = check(folder).get("quantization_config") or {}
    form = settings.get("quant_method")
    if form not in FORMS or settings.get("bits") != _BITS or settings.get("version", "gemm") != "gemm":
        raise UserError(f"{folder}: not packed in {_BITS} bits as {' or '.join(FORMS)}")
    tensors = {name: tensor for path in weight_paths(folder) for name, tensor in load_file(path).items()}
    unpack = unpack_gptq if form == "gptq" else unpack_awq
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name in [name for name in tensors if name.rpartition(".")[2] in ("qweight", "qzeros", "scales", "g_idx")]:
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = tensors.pop(name)
    weights = {}
    for layer, parts in layers.items():
        try:
            weights[f"{layer}.weight"] = unpack(parts).to(parts["scales"].dtype)
        except (KeyError, IndexError, RuntimeError, ZeroDivisionError):
            raise UserError(
                f"{folder}: the packed weights of {layer} do not belong together; make the folder anew"
            ) from None
    return tensors | weights


def unpack_gptq(parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return a weight, outputs x inputs: `qweight` is inputs/8 x outputs, `qzeros` groups x outputs/8.

    `g_idx` has the group of each input.
    """
    codes = _nibbles(parts["qweight"].t()).t()
    zeros = _nibbles(parts["qzeros"]) + 1
    group = parts["g_idx"].long() if "g_idx" in parts else _groups(codes, zeros)
    return ((codes - zeros[group]) * parts["scales"].float()[group]).t().contiguous()


def unpack_awq(parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return a weight, outputs x inputs: `qweight` is inputs x outputs/8, `qzeros` groups x outputs/8."""
    codes, zeros = (_in_order(_nibbles(parts[name])) for name in ("qweight", "qzeros"))
    group = _groups(codes, zeros)
    return ((codes - zeros[group]) * parts["scales"].float()[group]).t().contiguous()


def _nibbles(packed: torch.Tensor) -> torch.Tensor:
    """Return the eight 4-bit values of each integer, lowest first, along dimension 1."""
    shifts = torch.arange(0, 32, _BITS, dtype=torch.int32, device=packed.device)
    return (packed.unsqueeze(2) >> shifts & 15).flatten(1)


def _in_order(nibbles: torch.Tensor) -> torch.Tensor:
    """Return the outputs in their original order, from the order of AWQ's packing."""
    return nibbles.unflatten(1, (-1, _PACK))[:, :, list(_AWQ_ORDER)].flatten(1)


def _groups(codes: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    """Return the group of each input, where groups are consecutive inputs."""
    return torch.arange(len(codes), device=codes.device) // (len(codes) // len(zeros))
