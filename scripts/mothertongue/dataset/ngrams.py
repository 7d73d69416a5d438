"""Words and n-grams of texts, for finding near-duplicates and evaluation prompts in training data."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from mothertongue.common.languages import UNSPACED_LETTERS

# A run of letters and digits with their marks, or one letter of a script without spaces.
_SPACED = rf"(?![{UNSPACED_LETTERS}])[^\W_]"
_WORD = re.compile(rf"[{UNSPACED_LETTERS}]|{_SPACED}(?:{_SPACED}|[\u0300-\u036f])*")


def words(text: str) -> list[str]:
    """Return the words of a text, normalised (NFKC) and without case; each letter of an unspaced script is one."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(found: Sequence[str], size: int) -> Iterator[str]:
    """Yield the runs of `size` words, each joined by spaces; of fewer words, all of them."""
    for start in range(max(1, len(found) - size + 1)):
        yield " ".join(found[start : start + size])
