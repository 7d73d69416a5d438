"""Quality checks of a translated segment, cheapest first; each has a name that stands in a message's `reasons`."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mothertongue.common.language_id import other_language, speaks
from mothertongue.common.plain_text import byte_length
from mothertongue.translation.engines.base import Output
from mothertongue.translation.settings import QualityLimits

# Numbers that stand alone: no part of a name, a time, a range; "the 1990s" and "the 3rd" are said in words elsewhere.
_NUMBER = re.compile(r"(?<![\w.,:-])\d+(?:[.,]\d+)*(?![\w:-])")
_WORD = re.compile(r"\w+")
# A run of letters said five times or more in a row, inside words too: "nonononono", "aaaaa".
_STUTTER = re.compile(r"([^\W\d_]{1,8}?)\1{4,}")
# Short texts vary widely: segments of fewer UTF-8 bytes are not judged by score; their translations may be half as many
# times longer than the limit, and so many bytes and characters more.
_JUDGED_BYTES, _SHORT_LENGTH = 40, 12
# Translations of fewer UTF-8 bytes are not judged by language.
_LANGUAGE_BYTES = 60


@dataclass(frozen=True)
class Checks:
    """The checks for one pair of languages."""

    source: str
    target: str
    limits: QualityLimits

    def failures(self, text: str, output: Output) -> Iterator[str]:
        """The names of the checks that object to the translation of a segment."""
        limits = self.limits
        if not output.text.strip():
            yield "empty"
            return
        if _is_copy(text, output.text) and not self._may_be_copied(text):
            yield "untranslated"
        size, translated = byte_length(text), byte_length(output.text)
        if self._is_out_of_proportion(text, output.text):
            yield "length ratio"
        if _loses_a_number(text, output.text):
            yield "numbers"
        if _adds_brackets(text, output.text):
            yield "brackets"
        if not output.complete or (_loops(output.text, limits) and not _loops(text, limits)):
            yield "repetition"
        elif translated >= _LANGUAGE_BYTES and (found := self._other_language(text, output.text)):
            yield f"language: {found}"
        if output.score is not None and size >= _JUDGED_BYTES and output.score < limits.score:
            yield "score"

    def _is_out_of_proportion(self, text: str, translation: str) -> bool:
        """Whether a translation is too long or short; a short text by characters too: its script is not judged."""
        limits = self.limits
        size, translated = byte_length(text), byte_length(translation)
        if size >= _JUDGED_BYTES:
            return max(size, translated) > limits.length_ratio * min(size, translated)
        sizes = (size, translated), (len(text), len(translation))
        # Abbreviations are spelt out.
        return not text.isupper() and all(
            after > limits.length_ratio / 2 * before + _SHORT_LENGTH for before, after in sizes
        )

    def _may_be_copied(self, text: str) -> bool:
        """Whether a text is not in the source language after all, or as good in the target's: neighbours share many."""
        return bool(speaks(text, self.target) or other_language(text, self.source, self.limits.language_confidence))

    def _other_language(self, text: str, translation: str) -> str | None:
        """The language that a translation is in where that is surely not the target's, nor what its source was in."""
        confidence = self.limits.language_confidence
        found = other_language(translation, self.target, confidence)
        # A quotation in a third language is right to stay in it.
        if found and found != self.source and found == other_language(text, self.source, confidence):
            return None
        return found


def _loses_a_number(source: str, translation: str) -> bool:
    """Whether a number of three digits or more, less the zeros at its ends ("2 million"), is not in a translation."""
    numbers = {number for found in _NUMBER.findall(source) if len(number := _digits(found).strip("0")) >= 3}
    told = _digits(translation) if numbers else ""
    return any(number not in told for number in numbers)


def _adds_brackets(source: str, translation: str) -> bool:
    """Whether a translation has a bracket, or a bar of a table, more than its source: "(in English)", after a name."""
    return sum(map(translation.count, "(（[|")) > sum(map(source.count, "(（[|【〔〈《「『"))


def _digits(text: str) -> str:
    """The digits of a text, of whatever script, however they are grouped."""
    return "".join(str(int(character)) for character in text if character.isdecimal())


def _is_copy(source: str, translation: str) -> bool:
    """Whether the model only copied: at least four words, more than one of them not a name (not capitalised)."""
    first, copied = _WORD.search(source), _WORD.search(translation)
    if not first or not copied or first[0] != copied[0]:
        return False
    words = _WORD.findall(source)
    ordinary = [word for word in words if word[:1].islower()]
    return len(words) >= 4 and len(ordinary) > 1 and words == _WORD.findall(translation)


def _loops(text: str, limits: QualityLimits) -> bool:
    """Whether a text says the same over and over."""
    if _repeats(text, limits.repeats) > limits.repeats or _STUTTER.search(text.lower()):
        return True
    return _compression(text) > limits.compression


def _repeats(text: str, enough: int) -> int:
    """How often the most repeated run of one to six words follows itself; 1 where no word occurs more than `enough`."""
    words = _WORD.findall(text.lower())
    if len(words) - len(set(words)) < enough:
        return 1
    most = 1
    for size in range(1, 7):
        run = 0
        for at in range(size, len(words)):
            run = run + 1 if words[at] == words[at - size] else 0
            most = max(most, run // size + 1)
    return most


def _compression(text: str) -> float:
    raw = text.encode(errors="surrogatepass")
    return len(raw) / len(zlib.compress(raw))
