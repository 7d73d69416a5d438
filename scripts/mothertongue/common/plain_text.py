"""Text of others on a terminal or in a log: characters that act there stand as escapes, all others as they are."""

import json
import os
import re
import sys
from typing import Any

# A flag such as Scotland's: a black flag, and its region in characters that are not seen.
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
# Control characters but tab and line feed, line and paragraph separators, what changes the direction of text, marks of
# annotations, tags, and halves of characters, which cannot be printed. Joiners stay: Persian and emoji need them.
_ACTS = re.compile(
    f"({_FLAG})|[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_LINE_BREAK = re.compile(r"\s*[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]\s*")


def visible(text: str) -> str:
    """The text with `\\u001b` for the character ESC, say: tabs and line feeds alone act.

    The escapes are JSON's: a line of JSON has the same value after it.
    """
    return _ACTS.sub(lambda found: found[1] or json.dumps(found[0])[1:-1], text)


def byte_length(text: str) -> int:
    """The length of a text in UTF-8; half of a character counts as what it would be written with, three bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def one_line(text: str) -> str:
    """The text with its line breaks as spaces, and what else acts made visible."""
    return visible(_LINE_BREAK.sub(" ", text))


class Visible:
    """A stream of text that shows what acts, and is otherwise as the stream that it writes to."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; what would be drawn over a line is a line of its own."""
        self._stream.write(visible(text.replace("\r\n", "\n").replace("\r", "\n")))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_streams() -> None:
    """Have all that this program writes to stdout and stderr from now on made visible, whichever library writes it."""
    # Bars that would be drawn over themselves become lines: few of them.
    os.environ.setdefault("TQDM_MININTERVAL", "5")
    os.environ.setdefault("TQDM_POSITION", "0")
    sys.stdout, sys.stderr = map(_guarded, (sys.stdout, sys.stderr))


def _guarded(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, Visible) else Visible(stream)
