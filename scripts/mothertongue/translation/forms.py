"""Forms that models translate badly: they read plain text instead, and the translation gets its form back.

- Capitals: models know few words in capitals. They read a sentence, and the translation is put in capitals.
- Emphasis: models move, double and drop the marks of `*words*`. They read the text without marks and each phrase alone;
  the marks go around the phrase's translation where that stands in the text's translation once, else they come off.
  Several words in capitals are a phrase, too.
- "(s)" becomes the plural.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from mothertongue.translation.segments import PLACEHOLDER

_OUTSIDE = re.compile(f"({PLACEHOLDER})")
_WORD = re.compile(r"[^\W\d_]+")
# Fewer letters, or fewer words of which none is long, may be acronyms.
_LETTERS, _WORDS, _LONG_WORD = 7, 3, 5
_EMPHASIS = re.compile(r"(?<![\w*\\])(?P<mark>\*{1,3}|_{1,3})(?![\s*_])(?P<phrase>[^*_\n]+)(?<!\s)(?P=mark)(?![\w*])")
# The same in what a model makes of it: it puts spaces inside the marks.
_MARKED = re.compile(r"(?<![\w*\\])(?P<mark>\*{1,3}|_{1,3})(?P<phrase>[^*_\n]+)(?P=mark)(?![\w*])")
# A run of capitals inside a sentence has so many words, one of them so long.
_RUN_WORDS, _RUN_LONGEST = 3, 4
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*(?!\w)")
_PLURAL = re.compile(r"(?<=[A-Za-z]{2})\((e?s)\)(?!\w)")
# Languages in which words have a plural in -s.
_PLURAL_LANGUAGES = frozenset({"ca", "en", "es", "fr", "gl", "nl", "pt"})
# Words, code and numbers of a translation.
_TEXT_WORD = re.compile(r"\w+(?:[-'’.]\w+)*")
# Forms of one word begin with so many letters.
_STEM = 3
_DOTTED = {"tr": {"i": "İ"}, "az": {"i": "İ"}}


@dataclass(frozen=True)
class Plain:
    """The plain text of a segment (`source`), and its emphasised phrases, for a model to read.

    `marks` are those of the phrases, empty for capitals; `capitals` tells that the whole segment is in capitals.
    """

    source: str
    text: str
    phrases: tuple[str, ...]
    marks: tuple[str, ...]
    capitals: bool

    @property
    def asked(self) -> list[str]:
        """What a model is asked for: the text and its phrases, and the source with its marks, for the phrases in it."""
        return [self.text, *self.phrases, *([self.source] if any(self.marks) else [])]

    def finish(self, translations: Mapping[str, str | None], target: str) -> tuple[str, tuple[str, ...]]:
        """Return the translation with its form, and notes of what came off; `translations` are those of `asked`."""
        translation = translations[self.text] or ""
        marked = [match["phrase"] for match in _MARKED.finditer(translations.get(self.source) or "")]
        phrases = [[translations[phrase]] for phrase in self.phrases]
        if len(marked) == sum(map(bool, self.marks)):
            for candidates, phrase in zip(phrases, marked, strict=False):
                candidates.append(phrase)
        if translation == self.text:
            return self.source, ()
        places: list[tuple[int, int, str]] = []
        for mark, phrase, translated in zip(self.marks, self.phrases, phrases, strict=True):
            place = _place(translation, [found for found in (*translated, phrase) if found])
            if place:
                places.append((*place, mark))
        places.sort()
        ends = [0, *(end for _, end, _ in places)]
        apart = [place for place, end in zip(places, ends, strict=False) if place[0] >= end]
        lost = Counter(self.marks) - Counter(mark for _, _, mark in apart)
        for start, end, mark in reversed(apart):
            phrase = translation[start:end]
            phrase = f"{mark}{phrase}{mark}" if mark else _upper(phrase, target)
            translation = translation[:start] + phrase + translation[end:]
        notes = sorted({"emphasis removed" if mark else "capitals removed" for mark in lost})
        return _upper(translation, target) if self.capitals else translation, tuple(notes)


def plain(text: str, lang: str) -> Plain | None:
    """Return the plain text of a segment in language `lang`; None where it is plain as it is."""
    emphasis = _EMPHASIS.finditer(text) if "*" in text or "_" in text else ()
    found = [match for match in emphasis if _has_words(match["phrase"])]  # marks of code alone stay
    marked = [(match["phrase"], match["mark"]) for match in found]
    read = text
    for match in reversed(found):
        read = read[: match.start()] + match["phrase"] + read[match.end() :]
    if "(" in read and lang in _PLURAL_LANGUAGES:
        read = _PLURAL.sub("\\1", read)
    capitals = is_capitals(read)
    if capitals:
        read, marked = _sentence(read, lang), [(_sentence(phrase, lang), mark) for phrase, mark in marked]
    else:
        for start, end in reversed(_runs(read)):
            marked.append((_sentence(read[start:end], lang), ""))
            read = read[:start] + _lower(read[start:end], lang) + read[end:]
    phrases, marks = tuple(phrase for phrase, _ in marked), tuple(mark for _, mark in marked)
    return Plain(text, read, phrases, marks, capitals) if read != text else None


def emphasised(text: str) -> int:
    """Return the number of emphasised phrases in a text."""
    return sum(1 for match in _EMPHASIS.finditer(text) if _has_words(match["phrase"]))


def _runs(text: str) -> list[tuple[int, int]]:
    """Return the runs of words in capitals in a text that is not all in capitals."""
    runs: list[list[re.Match[str]]] = [[]]
    for token in _TOKEN.finditer(text):
        if not token[0].isupper():
            runs.append([])
        elif runs[-1] and text[runs[-1][-1].end() : token.start()].strip(" ,"):
            runs.append([token])
        else:
            runs[-1].append(token)
    return [
        (run[0].start(), run[-1].end())
        for run in runs
        if len(run) >= _RUN_WORDS and max(len(token[0]) for token in run) >= _RUN_LONGEST
    ]


def _has_words(text: str) -> bool:
    return _WORD.search(_OUTSIDE.sub("", text)) is not None


def is_capitals(text: str) -> bool:
    """Return whether a segment is written in capitals, and is more than an acronym."""
    if any(character.islower() for character in text):
        return False
    words = _WORD.findall(_OUTSIDE.sub(" ", text))
    if not any(word.isupper() for word in words):
        return False
    longest = max(map(len, words))
    return sum(map(len, words)) >= _LETTERS and (len(words) >= _WORDS or longest >= _LONG_WORD)


def _sentence(text: str, lang: str) -> str:
    """Return a text in capitals as a sentence; placeholders stay."""
    lower = _lower(text, lang)
    first = _WORD.search(_OUTSIDE.sub(lambda found: " " * len(found[0]), lower))
    return lower[: first.start()] + lower[first.start()].upper() + lower[first.start() + 1 :] if first else lower


def _lower(text: str, lang: str) -> str:
    parts = _OUTSIDE.split(text)
    lower = "".join(part if number % 2 else part.lower() for number, part in enumerate(parts))
    return re.sub(r"\bi\b", "I", lower) if lang == "en" else lower


def _upper(text: str, lang: str) -> str:
    letters = str.maketrans(_DOTTED.get(lang, {}))
    parts = _OUTSIDE.split(text)
    return "".join(part if number % 2 else part.translate(letters).upper() for number, part in enumerate(parts))


def _place(text: str, candidates: Sequence[str]) -> tuple[int, int] | None:
    """Return where the first of the candidates that stands in a text once stands in it, as whole words.

    Without any, words may have other endings: a verb that is translated alone is in another form.
    """
    words = list(_TEXT_WORD.finditer(text))
    for alike in (_are_equal, _are_forms):
        for candidate in candidates:
            phrase = _TEXT_WORD.findall(candidate)
            starts = range(len(words) - len(phrase) + 1) if phrase else ()
            found = [
                start for start in starts if all(alike(words[start + i][0], word) for i, word in enumerate(phrase))
            ]
            if len(found) == 1:
                return words[found[0]].start(), words[found[0] + len(phrase) - 1].end()
    return None


def _are_equal(first: str, second: str) -> bool:
    return first.casefold() == second.casefold()


def _are_forms(first: str, second: str) -> bool:
    """Return whether two words have most of their letters in common, from the first one on."""
    one, other = first.casefold(), second.casefold()
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return one == other or (common >= _STEM and 2 * common >= max(len(one), len(other)))
