"""Read and validate the header of a safetensors file: the tensors and their offsets."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError

# Bits per number, by the format's names of dtypes.
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_METADATA = "__metadata__"
_LENGTH_BYTES = 8
# The format's limit of a header in bytes, and more dimensions than any tensor has.
_LONGEST = 100_000_000
_MOST_DIMENSIONS = 64


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: its dtype and shape, and the offsets of its bytes after the header."""

    dtype: str
    shape: list[int]
    start: int
    end: int

    @property
    def numbers(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[bytes, dict[str, Entry]]:
    """Return the raw header of a safetensors file, and its tensors by name, ordered by offset.

    Read only the header. Raise UserError where the file is missing, not a safetensors file, or damaged: tensors must
    fill it contiguously from the header to its end, each with the bytes of its shape and dtype.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        room = size - _LENGTH_BYTES
        if not 0 < length <= min(room, _LONGEST):
            raise _damaged(path, "its header is cut short")
        header = file.read(length)
    try:
        found = json.loads(header)
    except (ValueError, RecursionError):
        raise _damaged(path, "its header is not JSON") from None
    if not isinstance(found, dict):
        raise _damaged(path, "its header is not a JSON object")
    entries = {name: _entry(path, name, value) for name, value in found.items() if name != _METADATA}
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)))
    end = 0
    for name, entry in entries.items():
        if entry.start != end:
            raise _damaged(path, f"'{name[:100]}' does not begin where the tensor before it ends")
        end = entry.end
    if end != room - length:
        raise _damaged(path, f"its tensors have {end:,} bytes, and the file {room - length:,}")
    return header, entries


def _entry(path: Path, name: str, value: Any) -> Entry:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end]}:
            sizes = (*shape, start, end)
            known = dtype in _BITS and len(shape) <= _MOST_DIMENSIONS
            if known and all(type(number) is int and 0 <= number < 2**63 for number in sizes):
                entry = Entry(dtype, shape, start, end)
                if entry.numbers * _BITS[dtype] == (end - start) * 8:
                    return entry
    raise _damaged(path, f"'{name[:100]}' has a type, shape or place in the file that cannot be")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path}: not a safetensors file, or a damaged one: {why}; fetch or make it anew")


def total_numbers(entries: Mapping[str, Entry]) -> int:
    """Return the total number of elements of the tensors."""
    return sum(entry.numbers for entry in entries.values())
