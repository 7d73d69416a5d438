"""Escaping untrusted text for terminals and logs: control characters become escapes, all others stay as they are."""

import json
import os
import re
import sys
from typing import Any

# A flag such as Scotland's: a black flag, and its region in invisible tag characters.
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
# Control characters except tab and line feed, line and paragraph separators, direction marks, annotation marks, tags,
# and lone surrogates, which cannot be printed. Joiners stay: Persian and emoji need them.
_ACTS = re.compile(
    f"({_FLAG})|[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_LINE_BREAK = re.compile(r"\s*[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]\s*")


def visible(text: str) -> str:
    """Escape control characters except tabs and line feeds, for example ESC as `\\u001b`.

    The escapes are those of JSON, so that a line of JSON keeps its value.
    """
    return _ACTS.sub(lambda found: found[1] or json.dumps(found[0])[1:-1], text)


def byte_length(text: str) -> int:
    """Return the length of a text in UTF-8 bytes; a lone surrogate counts as three."""
    return len(text.encode("utf-8", "surrogatepass"))


def one_line(text: str) -> str:
    """Replace line breaks by spaces, and escape other control characters."""
    return visible(_LINE_BREAK.sub(" ", text))


class Visible:
    """A wrapper of a text stream that escapes control characters."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; a carriage return becomes a line feed, so that no line is overwritten."""
        self._stream.write(visible(text.replace("\r\n", "\n").replace("\r", "\n")))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_streams() -> None:
    """Escape all further output of this program to stdout and stderr, including that of libraries."""
    # Progress bars become separate lines: reduce their number.
    os.environ.setdefault("TQDM_MININTERVAL", "5")
    os.environ.setdefault("TQDM_POSITION", "0")
    sys.stdout, sys.stderr = map(_guarded, (sys.stdout, sys.stderr))


def _guarded(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, Visible) else Visible(stream)
