"""The rows of a JSON file that is one list, read in blocks: a list may be larger than memory."""

import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

# Characters that are read at a time.
_BLOCK = 1_000_000
# What may follow in a number; the empty text stands for what is not read.
_OF_NUMBERS = ("", *"0123456789.eE+-")
_SPACE = re.compile(r"[ \t\n\r]*")
# An error so near to the end of what was read may be due to what follows; more than an escape is not needed.
_NEAR = 12


class Text(Protocol):
    """What is read."""

    def read(self, size: int, /) -> str:
        """Return the next characters, about so many; empty at the end."""


class TooLong(Exception):
    """A row that is longer than the limit."""


class JsonList:
    """The values of a list in a text file, which iterating yields.

    Iterating raises TooLong at a row of more than `longest` characters, and json.JSONDecodeError, with the line and the
    column in the file, where the text is no list of JSON.
    """

    def __init__(self, file: Text, longest: int) -> None:
        self._file, self._longest = file, longest
        self._text, self._place = "", 0
        # Lines, and columns of the last line, before the text.
        self._lines = self._columns = 0
        self._decoder = json.JSONDecoder()

    def __iter__(self) -> Iterator[Any]:
        self._take("[")
        if self._next() == "]":
            return
        while True:
            value = self._value()
            after = self._take(",]")
            yield value
            # As other programs do, let a comma follow the last value.
            if after == "]" or self._next() == "]":
                return

    def _value(self) -> Any:
        """Return the next value."""
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
                # A number that is cut is one too.
                cut = isinstance(value, int | float) and self._text[end : end + 1] in _OF_NUMBERS
                size = end - self._place
                if not cut or not self._read():
                    if size > self._longest:
                        raise TooLong
                    self._place += size
                    return value
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _NEAR
                wrong = error.pos - self._place
                if not cut or not self._read():
                    raise self._error(error.msg, self._place + wrong) from None
            if len(self._text) - self._place > self._longest + _BLOCK:
                raise TooLong

    def _take(self, expected: str) -> str:
        """Read one of the expected characters, and return it."""
        found = self._next()
        if not found or found not in expected:
            raise self._error(f"Expecting {' or '.join(map(repr, expected))} delimiter", self._place)
        self._place += 1
        return found

    def _next(self) -> str:
        """Return the next character that is no white space, without reading it; empty at the end of the file."""
        while True:
            self._place = _SPACE.match(self._text, self._place).end()  # type: ignore[union-attr]
            if self._place < len(self._text) or not self._read():
                return self._text[self._place : self._place + 1]

    def _read(self) -> bool:
        """Add a block to the text, or as much again, and drop what was read before; return whether there was one."""
        block = self._file.read(max(_BLOCK, len(self._text) - self._place))
        dropped, self._text, self._place = self._text[: self._place], self._text[self._place :] + block, 0
        if lines := dropped.count("\n"):
            self._lines, self._columns = self._lines + lines, 0
        self._columns += len(dropped) - (dropped.rfind("\n") + 1)
        return bool(block)

    def _error(self, message: str, place: int) -> json.JSONDecodeError:
        """Return an error with its place in the file."""
        error = json.JSONDecodeError(message, self._text, place)
        error.colno += self._columns if error.lineno == 1 else 0
        error.lineno += self._lines
        return error
