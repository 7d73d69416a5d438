"""Validate the header of a GGUF file before its readers use it: wrong counts would make them read without end.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from pathlib import Path
from typing import BinaryIO

from mothertongue.common.errors import UserError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# Bytes of a value by type number; strings and lists store their own length.
_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _LIST = 8, 9
# Minimum bytes of a string (its length), and of a tensor's entry: lengths of name and shape, type, offset.
_SHORTEST_STRING, _SHORTEST_TENSOR = 8, 24
_MOST_DIMENSIONS = 4


def check_gguf(path: Path) -> None:
    """Raise UserError where a file is not a GGUF file, or its header describes more than the file can hold."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            _Header(file, size).read()
        except ValueError as error:
            raise UserError(f"{path}: not a GGUF file, or a damaged one: {error}; fetch or make it anew") from None


class _Header:
    """A header parser; its methods raise ValueError where the header is invalid or exceeds the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size

    def read(self) -> None:
        if self.file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin as one")
        if (version := self.number(4)) not in _VERSIONS:
            raise ValueError(f"it is of version {version:,}")
        tensors, values = self.count(_SHORTEST_TENSOR), self.count(_SHORTEST_STRING)
        for _ in range(values):
            self.skip_string()
            self.skip_value(self.number(4))
        places = [self.tensor() for _ in range(tensors)]
        if max(places, default=0) > self.size - self.file.tell():
            raise ValueError("a tensor lies behind its end")

    def number(self, length: int) -> int:
        """Read the next number of `length` bytes, little-endian."""
        found = self.file.read(length)
        if len(found) < length:
            raise ValueError("its header is cut short")
        return int.from_bytes(found, "little")

    def count(self, least: int) -> int:
        """Read the next number as a count of items of at least `least` bytes each."""
        found = self.number(8)
        if found * least > self.size - self.file.tell():
            raise ValueError(f"it says {found:,} entries, for which it is too short")
        return found

    def skip_string(self) -> None:
        self.file.seek(self.count(1), 1)

    def skip_value(self, kind: int) -> None:
        if kind in _BYTES:
            self.number(_BYTES[kind])
        elif kind == _STRING:
            self.skip_string()
        elif kind == _LIST:
            self.skip_list()
        else:
            raise ValueError(f"a value is of type {kind:,}")

    def skip_list(self) -> None:
        kind = self.number(4)
        if kind in _BYTES:
            self.file.seek(self.count(_BYTES[kind]) * _BYTES[kind], 1)
        elif kind == _STRING:
            for _ in range(self.count(_SHORTEST_STRING)):
                self.skip_string()
        else:  # lists of lists, which no model has
            raise ValueError(f"a list has values of type {kind:,}")

    def tensor(self) -> int:
        """Read the next tensor's entry and return its offset after the header."""
        self.skip_string()
        dimensions = self.number(4)
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions:,} dimensions")
        for _ in range(dimensions):
            self.number(8)
        self.number(4)
        return self.number(8)
