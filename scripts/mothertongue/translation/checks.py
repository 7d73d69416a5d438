"""Quality checks of a translated segment, cheapest first; the names of failed ones are a message's `reasons`."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mothertongue.common.language_id import in_other_script, other_language, speaks, stretches
from mothertongue.common.languages import UNSPACED_LETTERS, is_latin
from mothertongue.common.plain_text import byte_length
from mothertongue.common.writing import letters_of, scripts_in, unusual_letters, without_quoted
from mothertongue.translation.engines.base import Output
from mothertongue.translation.glossary import Glossary
from mothertongue.translation.settings import QualityLimits
from mothertongue.translation.survival import Loss, losses

_WORD = re.compile(r"\w+")
# With the vowel signs of India's scripts.
_WORD_OR_LETTERS = re.compile(rf"[{UNSPACED_LETTERS}]{{1,2}}|(?:[^\W{UNSPACED_LETTERS}]|[\u0900-\u0963\u0966-\u0dff])+")
# One to eight letters repeated five times or more in a row, also inside words: "nonononono", "aaaaa".
_STUTTER = re.compile(r"([^\W\d_]{1,8}?)\1{4,}")
# Short texts vary widely: segments of fewer than 40 UTF-8 bytes have no score check, and their translations may have
# half the limit's ratio plus 12 bytes and characters.
_JUDGED_BYTES, _SHORT_LENGTH = 40, 12
# Translations of fewer UTF-8 bytes have no language check; longer ones are checked in stretches of so many or more.
_LANGUAGE_BYTES = 60
# A translation may have so many times as many characters in a third language as its source: its stretches are others.
_QUOTED = 2


@dataclass(frozen=True)
class Estimate:
    """An estimator of meaning, and the score below which a translation fails."""

    scores: Callable[[Sequence[tuple[str, str]]], list[float]]
    threshold: float


@dataclass(frozen=True)
class Checks:
    """The checks for one pair of languages; without `estimate` meaning is not judged, without `glossary` no term."""

    source: str
    target: str
    limits: QualityLimits
    estimate: Estimate | None = None
    glossary: Glossary | None = None

    def failures(self, text: str, output: Output) -> Iterator[str]:
        """Yield the names of the checks that the translation of a segment fails."""
        limits = self.limits
        if not output.text.strip():
            yield "empty"
            return
        stray = self._stray_letters(text, output.text)
        if (stray or _is_copy(text, output.text)) and not self._may_be_copied(text):
            yield stray or "untranslated"
        size, translated = byte_length(text), byte_length(output.text)
        if self._is_out_of_proportion(text, output.text):
            yield "length ratio"
        yield from (loss.kind for loss in self.losses(text, output.text))
        if not output.complete or (loops(output.text, limits) and not loops(text, limits)):
            yield "repetition"
        elif translated >= _LANGUAGE_BYTES and (found := self._other_language(text, output.text)):
            yield f"language: {found}"
        if output.score is not None and size >= _JUDGED_BYTES and output.score < limits.score:
            yield "score"

    def losses(self, text: str, translation: str) -> list[Loss]:
        """Return what the translation of a segment lacks of what it must keep."""
        found = list(losses(text, translation, self.source, is_latin(self.target)))
        if self.glossary:
            lacking, given = self.glossary.missed(text, translation)
            found += [Loss("glossary", tuple(given), given)] if lacking else []
        return found

    def _is_out_of_proportion(self, text: str, translation: str) -> bool:
        """Return whether a translation is too long or short.

        Short texts must exceed the limit in bytes and in characters, since bytes per character depend on the script.
        """
        limits = self.limits
        size, translated = byte_length(text), byte_length(translation)
        if size >= _JUDGED_BYTES:
            return max(size, translated) > limits.length_ratio * min(size, translated)
        sizes = (size, translated), (len(text), len(translation))
        # Translations spell abbreviations out.
        return not text.isupper() and all(
            after > limits.length_ratio / 2 * before + _SHORT_LENGTH for before, after in sizes
        )

    def _may_be_copied(self, text: str) -> bool:
        """Return whether a text is not in the source language, or also valid in the target, as in related languages."""
        confidence = self.limits.language_confidence
        return all(
            speaks(stretch, self.target) or other_language(stretch, self.source, confidence)
            for stretch in stretches(text, _LANGUAGE_BYTES)
        )

    def _stray_letters(self, text: str, translation: str) -> str | None:
        """Return what letters in a translation tell that the target is not written in; None where there are none.

        Most of them in the source's script: it is untranslated. A few are left over, or a model's slip; what the source
        has in a third script, and what it has in quotation marks or brackets, stays.
        """
        unusual = list(unusual_letters(translation, self.target))
        if not unusual:
            return None
        source, outside = scripts_in(self.source), without_quoted(translation)
        found = {
            script for script, letters in unusual if letters not in text or (script in source and letters in outside)
        }
        if not found:
            return None
        letters = letters_of(translation)
        left = sum(letters[script] for script in source & found)
        return "untranslated" if 2 * left > letters.total() else f"script: {min(found)}"

    def _other_language(self, text: str, translation: str) -> str | None:
        """Return a language of a translation that is confidently not the target's; None for a quotation's.

        The target's language in another script is another one: `zh-Hant`.
        """
        found = self._others(translation, self.target)
        # A quotation in a third language rightly stays in it.
        quoted = self._others(text, self.source) if found else found
        return next((lang for lang in found if lang == self.source or found[lang] > _QUOTED * quoted[lang]), None)

    def _others(self, text: str, lang: str) -> Counter[str]:
        """Return the languages of a text's stretches that are confidently not `lang`, with the characters in each."""
        found: Counter[str] = Counter()
        for stretch in stretches(text, _LANGUAGE_BYTES):
            other = other_language(stretch, lang, self.limits.language_confidence) or in_other_script(stretch, lang)
            if other:
                found[other] += len(stretch)
        return found


def _is_copy(source: str, translation: str) -> bool:
    """Return whether the model only copied: at least four words, more than one of them without a capital (no name).

    Two letters count as a word in languages without spaces.
    """
    first, copied = _WORD.search(source), _WORD.search(translation)
    if not first or not copied or first[0] != copied[0]:
        return False
    words = _WORD_OR_LETTERS.findall(source)
    ordinary = [word for word in words if word[0].isalpha() and not word[0].isupper()]
    return len(words) >= 4 and len(ordinary) > 1 and words == _WORD_OR_LETTERS.findall(translation)


def loops(text: str, limits: QualityLimits) -> bool:
    """Return whether a text is repetitive: repeated words or letters, or a high compression ratio."""
    if _repeats(text, limits.repeats) > limits.repeats or _STUTTER.search(text.lower()):
        return True
    return _compression(text) > limits.compression


def _repeats(text: str, enough: int) -> int:
    """Return how often in a row the most repeated run of one to six words occurs.

    Return 1 where fewer than `enough` words are repetitions.
    """
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
