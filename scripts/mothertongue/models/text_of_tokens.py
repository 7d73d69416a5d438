"""The text of an answer whose tokens come one by one."""

from typing import Any


class TextOfTokens:
    """The text in pieces, which together are the decoded tokens without white space around them.

    One exception: where bytes that are no text follow a character made of bytes, some tokenizers decode that character
    as U+FFFD, too, and here it stays.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # The tokens whose text is still to come, after some that are known: a token's text depends on those before it.
        self._known: list[int] = []
        self._new: list[int] = []
        self._stripped = Stripped()

    def add(self, token: int) -> str:
        """Return the text that is complete with one more token."""
        self._new.append(token)
        piece = self._decoded()
        # The bytes of a character may be several tokens.
        if not piece or piece.endswith("\ufffd"):
            return ""
        self._known, self._new = self._new, []
        return self._stripped.add(piece)

    def rest(self) -> str:
        """Return what is left at the end: characters that were never completed."""
        return self._stripped.add(self._decoded()) if self._new else ""

    def _decoded(self) -> str:
        """Return the text of the new tokens."""
        before, both = (
            self._tokenizer.decode(tokens, skip_special_tokens=True)
            for tokens in (self._known, self._known + self._new)
        )
        return both[len(before) :]


class Stripped:
    """A text that comes in pieces, without white space around the whole."""

    def __init__(self) -> None:
        self._begun, self._space = False, ""

    def add(self, piece: str) -> str:
        """Return the text up to its last character that is no white space; what follows waits for more."""
        text = self._space + piece
        if not self._begun:
            text = text.lstrip()
        found = text.rstrip()
        self._begun, self._space = self._begun or bool(found), text[len(found) :]
        return found
