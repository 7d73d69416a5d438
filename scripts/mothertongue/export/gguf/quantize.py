"""GGUF files with fewer bits per weight, made by llama.cpp's own program, which ik-llama-cpp-python ships."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mothertongue.common import subprocesses
from mothertongue.common.errors import UserError
from mothertongue.model_folders.gguf_header import check_gguf

# llama.cpp quantises rows in blocks of so many weights; K-quants have longer blocks.
_BLOCK, _K_BLOCK = 32, 256
_TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\]")


def check_shapes(path: Path, quantization: str) -> int:
    """Return what `check_rows` does for a GGUF file. Raise UserError where it is not one, or has no weights."""
    from gguf import GGUFReader

    check_gguf(path)
    try:
        tensors = GGUFReader(path).tensors
    except Exception:  # the reader trusts the file, and can fail anywhere
        raise UserError(f"{path}: not a GGUF file, or a damaged one; delete it and make it anew") from None
    # The first dimension is the row length; vectors are not quantised.
    rows = Counter(int(tensor.shape[0]) for tensor in tensors if len(tensor.shape) > 1)
    if not rows:
        raise UserError(f"{path}: has no weights; delete it and make it anew")
    return check_rows(rows, quantization, path)


def check_rows(rows: Mapping[int, int], quantization: str, model: Path) -> int:
    """Return how many matrices fall back to another quantisation: their rows are not multiples of K-quant blocks.

    `rows` maps row lengths to numbers of matrices. Raise UserError where rows are not multiples of any block.
    """
    odd = [length for length in rows if length % _BLOCK]
    if odd:
        raise UserError(
            f"{model}: rows of {odd[0]} weights cannot be quantised to {quantization}: llama.cpp takes multiples of"
            f" {_BLOCK}; use f16"
        )
    return sum(count for length, count in rows.items() if length % _K_BLOCK) if "_k" in quantization else 0


def quantize(source: Path, quantization: str, threads: int, output: Path) -> None:
    """Write a GGUF file in float16 with fewer bits per weight. Raise UserError where llama-quantize fails."""
    from ik_llama_cpp.quantize import find_quantize_bin

    command = [find_quantize_bin(), source, output, quantization.upper(), str(threads)]
    if said := subprocesses.run(command, quantized, "quantize", "tensors"):
        why = "; ".join(said[-2:])
        raise UserError(f"{source}: cannot be quantised to {quantization}; llama-quantize says: {why}")


def quantized(line: str) -> tuple[int, int] | None:
    """Return the number of the current tensor and of all, from a line of llama-quantize; None for other lines."""
    found = _TENSOR.match(line)
    return (int(found[1]), int(found[2])) if found else None
