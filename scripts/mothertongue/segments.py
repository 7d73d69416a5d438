"""Segments: a message taken apart into what is translated and what is kept, and put together again.

Models translate one sentence well and drop later ones, so messages are split into lines and sentences.
`"".join(part.text for part in split(text, lang)) == text` holds for every text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import sentencex

from mothertongue import protect
from mothertongue.languages import UNSPACED

Measure = Callable[[str], int]

# What a line begins with: quote marks, headings, list markers, check boxes, footnotes.
_MARKERS = re.compile(
    r"[ \t]*(?:>[ \t]?|#{1,6}[ \t]+|[-*+•–—][ \t]+|\d{1,4}[.)][ \t]+|[A-Za-z]\)[ \t]+|\[[ xX]\][ \t]+"
    r"|\[\^?\w+\]:[ \t]+)*[ \t]*"
)
_CLAUSE = re.compile(r"[,;:—–…!?.](?=[\s\"')])[\"')]*\s*|[、，；：。！？]")
_PLACEHOLDER = "XQ{}"
_CLOSING = frozenset({"", *",.;:!?)]}»”’…"})
_SPACE = re.compile(r"\s+")


def byte_length(text: str) -> int:
    """A script-neutral stand-in for a segment's length in tokens."""
    return len(text.encode())


@dataclass(frozen=True)
class Part:
    """A piece of a message. `translate` says whether the model sees it; `spans` are kept byte for byte inside it."""

    text: str
    translate: bool
    spans: tuple[protect.Span, ...] = ()

    @property
    def masked(self) -> str:
        """The text with a placeholder for each protected span; runs of white space become one space."""
        pieces = [_SPACE.sub(" ", piece) for piece in self.around]
        return "".join(piece + mark for piece, mark in zip(pieces, [*self.placeholders, ""], strict=True))

    @property
    def maskable(self) -> bool:
        """Whether placeholders can stand for the spans: none of them touches a word, as tags in `<b>word</b>` do."""
        beside = [self.text[start - 1 : start] + self.text[end : end + 1] for start, end in self.spans]
        return not any(character.isalnum() for character in "".join(beside))

    @property
    def around(self) -> list[str]:
        """The pieces of text before, between and after the spans."""
        bounds = [0, *(bound for span in self.spans for bound in span), len(self.text)]
        return [self.text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True)]

    @property
    def placeholders(self) -> list[str]:
        """One name a span that translation models copy, none of which stands in the text itself."""
        first = 1
        while any(_PLACEHOLDER.format(first + i) in self.text for i in range(len(self.spans))):
            first += len(self.spans)
        return [_PLACEHOLDER.format(first + i) for i in range(len(self.spans))]

    def restore(self, translation: str) -> str | None:
        """The translation of `masked` with its spans back in place; None where a placeholder is lost or doubled."""
        for number, mark in enumerate(self.placeholders):
            found = list(re.finditer(rf"{mark}(?!\d)", translation))
            if len(found) != 1:
                return None
            # A private character stands for the span until all are found: its own text may hold a placeholder.
            translation = translation.replace(found[0][0], f"\ue000{number}\ue001", 1)
        for number, (start, end) in enumerate(self.spans):
            translation = translation.replace(f"\ue000{number}\ue001", self.text[start:end], 1)
        return translation


def split(text: str, lang: str, limit: int = 480, measure: Measure = byte_length) -> list[Part]:
    """Take a message in language `lang` apart; no part that is translated measures more than `limit`."""
    parts: list[Part] = []
    position = 0
    for start, end in [*protect.blocks(text), (len(text), len(text))]:
        lines = text[position:start].splitlines(keepends=True)
        for line, in_table in zip(lines, protect.tables(lines), strict=True):
            parts.extend(_split_line(line, in_table, lang, limit, measure))
        if end > start:
            parts.append(Part(text[start:end], False))
        position = end
    return _merge(parts)


def pieces(part: Part) -> list[Part]:
    """A part with spans, split around them: for models that lose the placeholders."""
    found: list[Part] = []
    for number, piece in enumerate(part.around):
        found.extend(_trim(piece, []))
        if number < len(part.spans):
            found.append(Part(part.text[slice(*part.spans[number])], False))
    return _merge(found)


def join(parts: list[Part], texts: list[str], lang: str) -> str:
    """Put a message together from the texts that stand for its parts, in language `lang`.

    Languages without spaces between sentences gain one where the target language has it.
    """
    joined = ""
    for number, (part, text) in enumerate(zip(parts, texts, strict=True)):
        glued = number > 0 and part.translate and parts[number - 1].translate
        if glued and lang not in UNSPACED and text[:1] not in _CLOSING:
            joined += " "
        joined += text
    return joined


def has_words(text: str) -> bool:
    """Whether there is anything to translate: a letter of any script."""
    return any(character.isalpha() for character in text)


def _split_line(line: str, in_table: bool, lang: str, limit: int, measure: Measure) -> list[Part]:
    body = line.rstrip()
    if not has_words(body):
        return [Part(line, False)]
    start = _MARKERS.match(body).end()
    parts = [Part(body[:start], False)]
    cells = re.split(r"((?<!\\)\|)", body[start:]) if in_table else [body[start:]]
    for cell in cells:
        parts.extend(_split_sentences(cell, lang, limit, measure))
    return [*parts, Part(line[len(body) :], False)]


def _split_sentences(text: str, lang: str, limit: int, measure: Measure) -> list[Part]:
    spans = protect.inline(text)
    # Full stops inside a span end no sentence.
    hidden = list(text)
    for start, end in spans:
        hidden[start:end] = "x" * (end - start)
    parts: list[Part] = []
    position = 0
    for sentence in _sentences("".join(hidden), lang):
        for size in _fit(sentence, limit, measure, text[position : position + len(sentence)]):
            end = position + size
            inside = [(max(a, position), min(b, end)) for a, b in spans if a < end and b > position]
            parts.extend(_trim(text[position:end], [(a - position, b - position) for a, b in inside]))
            position = end
    return parts


def _sentences(text: str, lang: str) -> list[str]:
    """The sentences of a line; all of its characters are in one of them."""
    if not text:
        return []
    sentences = sentencex.segment(lang, text)
    return sentences if "".join(sentences) == text else [text]


def _fit(hidden: str, limit: int, measure: Measure, text: str) -> list[int]:
    """The lengths of the pieces that a sentence is cut into: at clauses, else at spaces, else anywhere."""
    sizes = []
    start = 0
    while measure(text[start:]) > limit:
        end = _longest(text, start, limit, measure)
        clauses = [match.end() for match in _CLAUSE.finditer(hidden, start, end)]
        spaces = [match.end() for match in _SPACE.finditer(hidden, start, end)]
        middle = start + (end - start) // 3
        cut = max((at for at in clauses if at > middle), default=0) or max(
            (at for at in spaces if at > middle), default=0
        )
        cut = cut or end
        sizes.append(cut - start)
        start = cut
    return [*sizes, len(text) - start]


def _longest(text: str, start: int, limit: int, measure: Measure) -> int:
    """The end of the longest piece from `start` within the limit, at least one character."""
    low, high = start + 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[start:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _trim(text: str, spans: list[protect.Span]) -> list[Part]:
    """A sentence as its translatable core and what stands before and after it: white space and outer spans."""
    start, end = 0, len(text)
    while spans and not has_words(text[start : spans[0][0]]):
        start = spans.pop(0)[1]
    while spans and not has_words(text[spans[-1][1] : end]):
        end = spans.pop()[0]
    core = text[start:end]
    if not has_words(core):
        return [Part(text, False)]
    start += len(core) - len(core.lstrip())
    end -= len(core) - len(core.rstrip())
    inner = tuple((a - start, b - start) for a, b in spans)
    return [Part(text[:start], False), Part(text[start:end], True, inner), Part(text[end:], False)]


def _merge(parts: list[Part]) -> list[Part]:
    """The parts without empty ones, neighbours that are kept made one."""
    merged: list[Part] = []
    for part in parts:
        if not part.text:
            continue
        if merged and not part.translate and not merged[-1].translate:
            merged[-1] = Part(merged[-1].text + part.text, False)
        else:
            merged.append(part)
    return merged
