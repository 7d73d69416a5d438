"""Words and n-grams of texts, for finding near-duplicates and evaluation prompts in training data."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

# Letters of scripts without spaces between words: each is a word. Korean has spaces.
_ALONE = "\u0e00-\u109f\u1780-\u17ff\u3040-\u9fff\uf900-\ufaff"
# Marks that belong to the letter before them: accents, points, vowel signs of Indian scripts, joiners.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711\u0730-\u074a"
    "\u0900-\u0963\u0971-\u0dff\u200c\u200d"
)
_SPACED = rf"(?![{_ALONE}])[^\W_]"
_WORD = re.compile(rf"[{_ALONE}]|{_SPACED}(?:{_SPACED}|[{_MARKS}])*")


def words(text: str) -> list[str]:
    """Return the words of a text, normalised (NFKC) and without case; each letter of an unspaced script is one."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(found: Sequence[str], size: int) -> Iterator[str]:
    """Yield the runs of `size` words, each joined by spaces; of fewer words, all of them."""
    for start in range(max(1, len(found) - size + 1)):
        yield " ".join(found[start : start + size])
