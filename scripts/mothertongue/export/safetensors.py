"""Safetensors files read and written one tensor at a time: memory use is that of the model's largest weight."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import torch

from mothertongue.common.errors import UserError
from mothertongue.model_folders.reading import weight_paths
from mothertongue.model_folders.safetensors_header import Entry, read_header

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

Change = Callable[[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class WeightFile:
    """A safetensors file: its unchanged header, and its tensors in the order of their bytes."""

    path: Path
    header: bytes
    entries: Mapping[str, Entry]

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor of the file."""
        with self.path.open("rb") as file:
            return _tensor(self._bytes(file, name), self.entries[name], f"{self.path}: {name}")

    def rewrite(self, target: Path, names: set[str], change: Change, advance: Callable[[], None]) -> None:
        """Write the file with the tensors `names` changed, in their own dtype and shape, and all else unchanged."""
        with self.path.open("rb") as source, target.open("wb") as file:
            file.write(len(self.header).to_bytes(8, "little") + self.header)
            for name, entry in self.entries.items():
                content = self._bytes(source, name)
                if name in names:
                    changed = change(name, _tensor(content, entry, f"{self.path}: {name}"))
                    file.write(_content(changed, entry))
                else:
                    file.write(content)
                advance()

    def _bytes(self, file: BufferedReader, name: str) -> bytearray:
        entry = self.entries[name]
        file.seek(8 + len(self.header) + entry.start)
        content = bytearray(entry.end - entry.start)
        if file.readinto(content) != len(content):
            raise UserError(f"{self.path}: cut short; fetch the model again")
        return content


def open_weights(path: Path) -> WeightFile:
    """Return a safetensors file with its header read. Raise UserError where it is not one, or is damaged."""
    return WeightFile(path, *read_header(path))


def weights_of(folder: Path) -> list[WeightFile]:
    """Return the weight files of a model folder, in order: only those that transformers loads.

    Raise UserError where there are none, or where one is missing or damaged.
    """
    return [open_weights(path) for path in weight_paths(folder)]


def _tensor(content: bytearray, entry: Entry, where: str) -> torch.Tensor:
    if entry.dtype not in _DTYPES:
        raise UserError(f"{where}: weights of type {entry.dtype}; an adapter is merged into 16 or 32 bits only")
    if not entry.numbers:
        return torch.empty(entry.shape, dtype=_DTYPES[entry.dtype])
    return torch.frombuffer(content, dtype=_DTYPES[entry.dtype]).reshape(entry.shape)


def _content(tensor: torch.Tensor, entry: Entry) -> memoryview:
    plain = tensor.to(_DTYPES[entry.dtype]).contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().data
