"""Safetensors files read and written one tensor at a time: a model takes no more memory than its largest weight."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mothertongue import model_files
from mothertongue.errors import UserError
from mothertongue.files import read_json

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_METADATA = "__metadata__"
# No header of a real model is longer; a file that says so is no safetensors file.
_LONGEST_HEADER = 100_000_000

Change = Callable[[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: what it is, and where its bytes are behind the header."""

    dtype: str
    shape: list[int]
    start: int
    end: int


@dataclass(frozen=True)
class WeightFile:
    """A safetensors file: its header as it stands, and its tensors in the order of their bytes."""

    path: Path
    header: bytes
    entries: Mapping[str, Entry]

    def read(self, name: str) -> torch.Tensor:
        """One of its tensors."""
        with self.path.open("rb") as file:
            return _tensor(self._bytes(file, name), self.entries[name], f"{self.path}: {name}")

    def rewrite(self, target: Path, names: set[str], change: Change, advance: Callable[[], None]) -> None:
        """Write the file with the tensors `names` changed, in their own type and shape, and all else as it is."""
        with self.path.open("rb") as source, target.open("wb") as file:
            file.write(len(self.header).to_bytes(8, "little") + self.header)
            for name, entry in self.entries.items():
                content = self._bytes(source, name)
                if name in names:
                    content = _content(change(name, _tensor(content, entry, f"{self.path}: {name}")), entry)
                file.write(content)
                advance()

    def _bytes(self, file: BinaryIO, name: str) -> bytearray:
        entry = self.entries[name]
        file.seek(8 + len(self.header) + entry.start)
        content = bytearray(entry.end - entry.start)
        if file.readinto(content) != len(content):
            raise UserError(f"{self.path}: cut short; fetch the model again")
        return content


def open_weights(path: Path) -> WeightFile:
    """Read the header of a safetensors file. Raises UserError where it is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if 0 < length < _LONGEST_HEADER else b""
    try:
        found: dict[str, Any] = json.loads(header)
        entries = {
            name: Entry(value["dtype"], value["shape"], *value["data_offsets"])
            for name, value in found.items()
            if name != _METADATA
        }
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a safetensors file, or a damaged one") from None
    return WeightFile(path, header, dict(sorted(entries.items(), key=lambda item: item[1].start)))


def weights_of(folder: Path) -> Iterator[WeightFile]:
    """The weight files of a model folder, in order: those that transformers loads, whatever else lies beside them.

    Raises UserError where there are none, or where one is missing.
    """
    model_files.check(folder)
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if single.is_file():
        paths = [single]
    elif index.is_file():
        paths = [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
    else:
        paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise UserError(f"{folder}: no weights (*.safetensors) in it; make the folder anew")
    if missing := next((path for path in paths if not path.is_file()), None):
        raise UserError(f"{missing}: not there, and {index.name} names it; fetch the model again")
    return map(open_weights, paths)


def _tensor(content: bytearray, entry: Entry, where: str) -> torch.Tensor:
    if entry.dtype not in _DTYPES:
        raise UserError(f"{where}: weights of type {entry.dtype}; an adapter is merged into 16 or 32 bits only")
    return torch.frombuffer(content, dtype=_DTYPES[entry.dtype]).reshape(entry.shape)


def _content(tensor: torch.Tensor, entry: Entry) -> memoryview:
    plain = tensor.to(_DTYPES[entry.dtype]).contiguous().reshape(-1)
    return memoryview(plain.view(torch.uint8).numpy())
