"""The characters that a translation model can read; typographic ones outside its vocabulary become plain ones.

The replacements are those of Moses' normalize-punctuation, which prepared the training data of OPUS-MT and NLLB.
"""

import re
from collections.abc import Callable

# Typographic characters, and what stands for them in text without them.
_PLAIN = {
    **dict.fromkeys("“”„‟«»″〝〞", '"'),
    **dict.fromkeys("‘’‚‛′‹›ʼ", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    "…": "...",
}
_TYPOGRAPHIC = re.compile(f"[{''.join(_PLAIN)}]")
_DASH = re.compile(r" ?[—―] ?")


class Vocabulary:
    """The characters of a model: those that `knows` accepts, and typographic ones with a plain form that it accepts."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        self._knows = knows
        self._known: dict[str, bool] = {}

    def covers(self, text: str) -> bool:
        """Return whether the model can read every character of a text, or its plain form."""
        return all(self._covered(character) for character in set(text))

    def plain(self, text: str) -> str:
        """Replace the typographic characters that the model lacks by plain ones, for the model to read."""
        if text.isascii():
            return text
        if not self._is_known("—"):
            text = _DASH.sub(" — ", text)
        return _TYPOGRAPHIC.sub(lambda found: found[0] if self._is_known(found[0]) else _PLAIN[found[0]], text)

    def _covered(self, character: str) -> bool:
        return self._is_known(character) or (character in _PLAIN and self._is_known(_PLAIN[character]))

    def _is_known(self, character: str) -> bool:
        known = self._known.get(character)
        if known is None:
            known = self._known[character] = self._knows(character)
        return known
