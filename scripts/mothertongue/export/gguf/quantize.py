"""GGUF files with fewer bits a weight, made by llama.cpp's own program, which ik-llama-cpp-python ships."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mothertongue.common import subprocesses
from mothertongue.common.errors import UserError
from mothertongue.model_folders.gguf_header import check_gguf

# What llama.cpp can quantise is a row of blocks; rows of K-quants are longer ones.
_BLOCK, _K_BLOCK = 32, 256
_TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\]")


def check_shapes(path: Path, quantization: str) -> int:
    """What `check_rows` says of a GGUF file. Raises UserError where it is none, or empty."""
    from gguf import GGUFReader

    check_gguf(path)
    try:
        tensors = GGUFReader(path).tensors
    except Exception:  # the reader believes what the file says, and fails anywhere
        raise UserError(f"{path}: not a GGUF file, or a damaged one; delete it and make it anew") from None
    # The first dimension is a row's length; vectors stay as they are.
    rows = Counter(int(tensor.shape[0]) for tensor in tensors if len(tensor.shape) > 1)
    if not rows:
        raise UserError(f"{path}: has no weights; delete it and make it anew")
    return check_rows(rows, quantization, path)


def check_rows(rows: Mapping[int, int], quantization: str, model: Path) -> int:
    """How many matrices fall back to another quantisation, since their rows are not of K-quants' blocks.

    `rows` has the number of matrices by the length of their rows. Raises UserError where rows are of no blocks at all.
    """
    odd = [length for length in rows if length % _BLOCK]
    if odd:
        raise UserError(
            f"{model}: rows of {odd[0]} weights cannot be quantised to {quantization}: llama.cpp takes multiples of"
            f" {_BLOCK}; use f16"
        )
    return sum(count for length, count in rows.items() if length % _K_BLOCK) if "_k" in quantization else 0


def quantize(source: Path, quantization: str, threads: int, output: Path) -> None:
    """Write a GGUF file in float16 with fewer bits. Raises UserError where the program refuses."""
    from ik_llama_cpp.quantize import find_quantize_bin

    command = [find_quantize_bin(), source, output, quantization.upper(), str(threads)]
    if said := subprocesses.run(command, quantized, "quantize", "tensors"):
        why = "; ".join(said[-2:])
        raise UserError(f"{source}: cannot be quantised to {quantization}; llama-quantize says: {why}")


def quantized(line: str) -> tuple[int, int] | None:
    """Which tensor it is, of how many, by a line of llama-quantize."""
    found = _TENSOR.match(line)
    return (int(found[1]), int(found[2])) if found else None
