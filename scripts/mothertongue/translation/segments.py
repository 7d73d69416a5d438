"""Split a message into segments, translated or kept, and join them again.

Models translate one sentence well and drop later ones, so messages are split into lines and sentences.
`"".join(part.text for part in split(text, lang)) == text` holds for every text.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import sentencex

from mothertongue.common.languages import UNSPACED, UNSPACED_LETTERS
from mothertongue.common.plain_text import byte_length
from mothertongue.translation import protected_spans
from mothertongue.translation.protected_spans import Span

Measure = Callable[[str], int]
Range = tuple[int, int, list[Span]]  # start and end of a segment, and the spans in it

# Markers at the start of a line: quotes, headings, lists, check boxes, footnotes.
_MARKERS = re.compile(
    r"[ \t\u00a0\u3000\u200b\ufeff]*+(?>(?:>[ \t]?|[-=]>[ \t]*|#{1,6}[ \t]+|[-*+–—][ \t]+|\(?\d{1,4}[.)]{1,2}[ \t]+"
    r"|\(?[A-Za-z]\)[ \t]+|(?:[A-Za-z]|[IVXivx]{1,5})\.[ \t]+(?![A-Za-z]\.)|\*\*\d{1,4}[.)]\*\*[ \t]+|\[[ xX]\][ \t]+"
    r"|\[\^?\w+\]:[ \t]+"
    # Without a space: bullets, a dash before a capital letter, numbers in brackets, circles or Chinese.
    r"|[•·‣][ \t]*|[-–—](?=[A-ZÀ-ÞА-Я¿¡])|\(?\d{1,4}\)(?=[^\W\d_])|（\d{1,4}）|[①-⒛][ \t]*"
    r"|(?:\d{1,4}|[一二三四五六七八九十]{1,3})[、．）][ \t]*|[ \t]+)*)"
)
_CLOSING_HASHES = re.compile(r"[ \t]#+$")
# A bold term before its description ("**Flour:** two cups", "**Flour** - two cups"), or a bold line.
_BOLD = re.compile(
    r"[ \t]*(?P<mark>\*\*|__)(?![\s*_])(?P<bold>[^*_\n]+)(?<!\s)(?P=mark)"
    r"(?:[:：][ \t]*|[ \t]+[-–—:][ \t]+|[ \t]*$|(?<=[:：]..)[ \t]*)"
)
_COLUMNS = re.compile(r"\t[ \t]*| {3,}")
_CELLS = re.compile(r"(?<!\\)\||\t[ \t]*| {3,}")
# Comma-separated values, without spaces after the commas as sentences have them.
_VALUES = re.compile(r"[^,\s][^,]{0,40}(?:,(?!\s)[^,]{0,40})+")
_COMMA = re.compile(",")
_NAMES = re.compile(r"[ ]*[A-Z][\w.'’-]*(?:[ ][A-Z][\w.'’-]*)*[ ]*")
_NUMBER_CELL = re.compile(r"(?:^|,)[0-9.]+(?:,|\s*$)")
# So many commas make a line of values without a neighbour like it.
_COLUMNS_ALONE = 2
_CLAUSE = re.compile(r"[,;:—–…!?.](?=[\s\"')])[\"')]*\s*|[、，；：。！？]")
# Characters around a text that belong to the span beside it, not to the sentence: brackets, list markers.
_SEPARATORS = re.compile(r"[\s,.;:)\]}”»）」』】–—-]*")
_OPENERS = re.compile(r"(?:[\s(\[{“„«（「『【]|(?<![^\s(\[{“„«（「『【])[\"'*_=+–—-]+)*$")
_OPENERS_LENGTH = 20
_SPACE = re.compile(r"\s+")
_LINE_END = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# A single letter is a unit or a variable, but a word in scripts that write vowels as marks or have no spaces.
_WORDS = re.compile(rf"[^\W\d_][\u0300-\u036f]*[^\W\d_]|[\u0590-\u10ff{UNSPACED_LETTERS}]")
_UNSPACED_LETTER = re.compile(rf"[{UNSPACED_LETTERS}]")
_MASK = "\ue000"  # replaces each character of a span while lines and sentences are searched
# What stands for a protected span while a model reads the text.
PLACEHOLDER = r"XQ[0-9]+"
_PLACEHOLDER = re.compile(PLACEHOLDER)
_CLOSING = frozenset({"", *",.;:!?)]}»”’…"})
# First and last characters of code, URLs and formulas, but not of Markdown markup, HTML elements or emoji.
_KEPT_START = re.compile(r"[\w`$\\/~]")
_KEPT_END = re.compile(r"[\w`$)\]}/]")
_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")
# More characters than a unit of any measure covers on average: longer text is cut without measuring it whole.
_CHARACTERS_A_UNIT = 8
_CHUNK = 4000  # characters given to the sentence splitter at once: it is quadratic in a line of quotation marks


@dataclass(frozen=True)
class Part:
    """A piece of a message. The model reads it where `translate` is set; its `spans` are kept byte for byte.

    `given` has the spans with another text in the translation, the terms of a glossary. `lang` is the language of a
    part that is translated from a third language.
    """

    text: str
    translate: bool
    spans: tuple[Span, ...] = ()
    given: tuple[tuple[Span, str], ...] = ()
    lang: str = ""

    @cached_property
    def masked(self) -> str:
        """The text with a placeholder for each protected span; runs of white space become one space."""
        pieces = [_SPACE.sub(" ", piece) for piece in self.around]
        return "".join(piece + mark for piece, mark in zip(pieces, [*self.placeholders, ""], strict=True))

    @property
    def maskable(self) -> bool:
        """Whether placeholders can replace the spans: none touches a word, unlike the tags in `<b>word</b>`."""
        beside = "".join(self.text[start - 1 : start] + self.text[end : end + 1] for start, end in self.spans)
        return not any(character.isalnum() for character in _UNSPACED_LETTER.sub("", beside))

    @property
    def gaps(self) -> list[Span]:
        """The stretches before, between and after the spans."""
        bounds = [0, *(bound for span in self.spans for bound in span), len(self.text)]
        return list(zip(bounds[::2], bounds[1::2], strict=True))

    @property
    def around(self) -> list[str]:
        """The text of the gaps."""
        return [self.text[start:end] for start, end in self.gaps]

    @cached_property
    def placeholders(self) -> list[str]:
        """One name per span, of a form that translation models copy; none of them occurs in the text."""
        taken = set(_PLACEHOLDER.findall(self.text)) if self.spans else set()
        first = 1
        while taken.intersection(names := [f"XQ{first + i}" for i in range(len(self.spans))]):
            first += len(self.spans)
        return names

    def protecting(self, spans: Iterable[Span], given: Mapping[Span, str] | None = None) -> "Part":
        """Return the part with further spans; those that overlap become one.

        `given` has texts that replace spans of the translation (see the class), none within what is protected already.
        """
        merged: list[Span] = []
        for start, end in sorted([*self.spans, *spans]):
            if merged and start < merged[-1][1]:
                start, end = merged[-1][0], max(end, merged[-1][1])
                merged.pop()
            merged.append((start, end))
        replaced = dict(self.given)
        for (first, last), text in (given or {}).items():
            if text != self.text[first:last] and not any(first < end and start < last for start, end in self.spans):
                replaced[first, last] = text
        whole = []
        for start, end in merged:
            text = self.text[start:end]
            for (first, last), new in sorted(replaced.items(), reverse=True):
                if start <= first and last <= end:
                    text = text[: first - start] + new + text[last - start :]
            whole += [((start, end), text)] if text != self.text[start:end] else []
        return replace(self, spans=tuple(merged), given=tuple(whole))

    def restore(self, translation: str) -> str | None:
        """Return the translation of `masked` with its spans restored; None where a placeholder is lost or doubled.

        Collapse runs of white space to one space. Where the translation equals `masked`, return the text unchanged.
        """
        if translation == self.masked and not self.given:
            return self.text
        names = self.placeholders
        found = [name for name in _PLACEHOLDER.findall(translation) if name in names]
        if sorted(found) != sorted(names):
            return None
        given = dict(self.given)
        kept = {name: given.get(span, self.text[slice(*span)]) for name, span in zip(names, self.spans, strict=True)}
        return _PLACEHOLDER.sub(lambda mark: kept.get(mark[0], mark[0]), " ".join(translation.split()))


def split(
    text: str,
    lang: str,
    limit: int = 480,
    measure: Measure = byte_length,
    unreadable: frozenset[str] = frozenset(),
    lines: bool = False,
) -> list[Part]:
    """Split a message in language `lang` into parts; no translated part measures more than `limit`.

    With `lines` the sentences of a line stay together, for models that read more than a sentence.

    `byte_length` approximates a count of tokens in any script. `measure` may be any length of at most `byte_length`: a
    count of tokens that cover a byte or more each, without those that a model adds at the ends (leave room for them
    in `limit`). It is only called for text that has more bytes than the limit. A single character that measures more
    is not translated. Words with `unreadable` characters, which the model's vocabulary lacks, are kept.
    """
    view = _View.of(text, lang, unreadable)
    sentences = _sentences(view, lang, lines)
    return _parts(text, (found for start, end in sentences for found in _fitting(view, start, end, limit, measure)))


def pieces(part: Part) -> list[Part]:
    """Split a part around its spans: for models that lose the placeholders."""
    cores = (
        _core(part.text, *_beside_spans(part.text, start, end, start > 0, end < len(part.text)))
        for start, end in part.gaps
    )
    found = _parts(part.text, ((start, end, []) for start, end in cores if start < end))
    return _with_given(found, part.given) if part.given else found


def _with_given(parts: list[Part], given: Iterable[tuple[Span, str]]) -> list[Part]:
    """Return the pieces of a part with the texts that stand for some of its spans, which are in kept pieces."""
    changed, position = [], 0
    for part in parts:
        text, end = part.text, position + len(part.text)
        for (first, last), term in sorted(given, reverse=True):
            if not part.translate and position <= first and last <= end:
                text = text[: first - position] + term + text[last - position :]
        changed.append(replace(part, text=text))
        position = end
    return changed


def join(parts: list[Part], texts: list[str], lang: str) -> str:
    """Join the texts of the parts of a message, or the pieces of a part, in language `lang`.

    Where the source has no space between sentences, or between words and code, and the target language needs one, add
    it beside translated text.
    """
    joined = texts[:1]
    for before, after, left, right in zip(parts, parts[1:], texts, texts[1:], strict=False):
        changed = left != before.text or right != after.text
        if changed and lang not in UNSPACED and _are_glued(before, after, left, right):
            joined.append(" ")
        joined.append(right)
    return "".join(joined)


def _are_glued(before: Part, after: Part, left: str, right: str) -> bool:
    """Return whether a space is missing between the texts of two parts: two sentences, or a word and a kept part."""
    if before.translate and after.translate:
        return right[:1] not in _CLOSING
    if before.translate:
        return bool(_UNSPACED_LETTER.match(before.text[-1:]) and left[-1:].isalnum() and _KEPT_START.match(right))
    return bool(_UNSPACED_LETTER.match(after.text[:1]) and right[:1].isalnum() and _KEPT_END.match(left[-1:]))


def has_words(text: str) -> bool:
    """Return whether a text has a letter of any script, hence something to translate."""
    return any(character.isalpha() for character in text)


@dataclass(frozen=True)
class _View:
    """A text without surrogates (`seen`), the same with its spans masked (`hidden`), and the spans.

    `words` are the spans that are words of a sentence, which the model cannot read: names.
    """

    seen: str
    hidden: str
    spans: list[Span]
    starts: list[int]
    words: frozenset[Span]

    @classmethod
    def of(cls, text: str, lang: str, unreadable: frozenset[str]) -> "_View":
        spans = protected_spans.spans(text, lang, unreadable)
        seen = text if text.isascii() else _SURROGATE.sub("?", text)
        hidden: list[str] = []
        position = 0
        for start, end in spans:
            hidden += seen[position:start], _MASK * (end - start)
            position = end
        lacks = not unreadable.isdisjoint(text)
        words = frozenset(spans).difference(protected_spans.spans(text, lang)) if lacks else frozenset()
        return cls(seen, "".join([*hidden, seen[position:]]), spans, [start for start, _ in spans], words)

    def inside(self, start: int, end: int) -> list[Span]:
        """Return the spans in a range that begins outside any span; the last may be cut off."""
        if not self.spans:
            return []
        found = self.spans[bisect_left(self.starts, start) : bisect_left(self.starts, end)]
        return [*found[:-1], (found[-1][0], min(found[-1][1], end))] if found else []

    def core(self, start: int, end: int) -> Range:
        """Return a range without the white space and spans at its ends; empty where it has no words."""
        inside = self.inside(start, end)
        first, last = start, end
        if not inside or not _has_words(self.hidden, start, end):
            return *_core(self.hidden, start, end), []
        while inside and inside[0] not in self.words and not _has_words(self.hidden, start, inside[0][0]):
            start = inside.pop(0)[1]
        while inside and inside[-1] not in self.words and not _has_words(self.hidden, inside[-1][1], end):
            end = inside.pop()[0]
        start, end = _beside_spans(self.hidden, start, end, start > first, end < last)
        return *_core(self.hidden, start, end), inside


def _sentences(view: _View, lang: str, whole: bool) -> Iterator[Span]:
    """Yield the sentences of all lines, without list, heading and table markers and spans over several lines.

    With `whole` all sentences of a line, or of a cell, are one.
    """
    several = [span for span in view.spans if _LINE_END.search(view.seen, *span)]
    piped = "|" in view.hidden
    position = 0
    for start, end in [*several, (len(view.seen), 0)]:
        lines = view.hidden[position:start].splitlines(keepends=True)
        tables = protected_spans.tables(lines) if piped else [False] * len(lines)
        for line, (gaps, names) in zip(lines, _gaps(lines, tables), strict=True):
            body = position + len(line.rstrip())
            if _has_words(view.hidden, position, body):
                for first, last in _stretches(view.hidden, position, body, gaps):
                    if names and names.fullmatch(view.hidden, first, last):
                        continue
                    if whole:
                        yield first, last
                    else:
                        yield from _divide(view.hidden, first, last, lang)
            position += len(line)
        position = end


def _gaps(lines: list[str], tables: list[bool]) -> Iterator[tuple[re.Pattern[str], re.Pattern[str] | None]]:
    """Yield what separates the cells of each line (of tables, of comma-separated values, else of columns).

    With it comes what is not translated in the cells: names in comma-separated values, but for a line of headings.
    """
    commas = [line.count(",") if _VALUES.fullmatch(line.strip()) else 0 for line in lines]
    around = zip([0, *commas], commas, [*commas[1:], 0], strict=False)
    for line, in_table, (before, here, after) in zip(lines, tables, around, strict=True):
        if in_table:
            yield _CELLS, None
        elif here and (here >= _COLUMNS_ALONE or here in (before, after)):
            yield _COMMA, _NAMES if here == before or _NUMBER_CELL.search(line) else None
        else:
            yield _COLUMNS, None


def _stretches(hidden: str, start: int, end: int, pattern: re.Pattern[str]) -> list[Span]:
    """Return the cells of a line after its markers; a bold term is separate."""
    if markers := _MARKERS.match(hidden, start, end):
        start = markers.end()
        if "#" in markers[0] and (hashes := _CLOSING_HASHES.search(hidden, start, end)):
            end = hashes.start()
    found: list[Span] = []
    while True:
        gap = pattern.search(hidden, start, end)
        stop, after = gap.span() if gap else (end, end)
        if bold := _BOLD.match(hidden, start, stop):
            found.append(bold.span("bold"))
            start = bold.end()
        found.append((start, stop))
        if not gap:
            return found
        start = after


def _divide(hidden: str, start: int, end: int, lang: str) -> Iterator[Span]:
    """Yield the sentences of a part of a line; each character is in one of them, and no span in two."""
    first = start
    while start < end:
        text = hidden[start : min(end, start + _CHUNK)]
        sentences = sentencex.segment(lang, text)
        if "".join(sentences) != text:
            sentences = [text]
        if start + len(text) < end and len(sentences) > 1:
            sentences.pop()  # may go on
        for sentence in sentences:
            start += len(sentence)
            # No sentence begins inside a span, nor at a bracket directly after a word: "energy (E) is".
            beside = hidden[start - 1 : start + 1]
            if start == end or not (beside == 2 * _MASK or (beside == " (" and hidden[start - 2].isalnum())):
                yield first, start
                first = start


def _fitting(view: _View, start: int, end: int, limit: int, measure: Measure) -> Iterator[Range]:
    """Yield the text to translate in a sentence, in one piece or in several within the limit."""
    waiting = [(start, end)]
    while waiting:
        start, end = waiting.pop()
        if end - start <= _CHARACTERS_A_UNIT * limit:
            start, end, inside = view.core(start, end)
            if start == end:
                continue
            if (4 * (end - start) <= limit and not inside) or _size(view, start, end, limit, measure) <= limit:
                yield start, end, inside
                continue
            if end - start == 1:
                continue
        cut = _cut(view, start, end, limit, measure)
        if cut < end:
            waiting += (cut, end), (start, cut)


def _size(view: _View, start: int, end: int, limit: int, measure: Measure) -> int:
    """Return the measure of a range, the larger of plain and masked; its bytes where they are within the limit."""
    texts = [view.seen[start:end]]
    if inside := view.inside(start, end):
        texts.append(_part(view.seen, start, end, inside).masked)
    return max(size if (size := byte_length(text)) <= limit else measure(text) for text in texts)


def _cut(view: _View, start: int, end: int, limit: int, measure: Measure) -> int:
    """Return where to cut a piece that is too long: after a clause, else after a word, else anywhere outside spans."""
    reach = min(end - 1, start + _CHARACTERS_A_UNIT * limit)
    while reach > start + 1 and (size := _size(view, start, reach, limit, measure)) > limit:
        length = reach - start
        reach = start + max(1, min(length * limit // size, length * 7 // 8))
    for pattern in (_CLAUSE, _SPACE):
        # Not in the first third: so short a piece lacks context.
        cuts = [match.end() for match in pattern.finditer(view.hidden, start + (reach - start) // 3, reach)]
        if cuts:
            return cuts[-1]
    number = bisect_left(view.starts, reach) - 1
    if number >= 0 and reach < view.spans[number][1]:
        first, last = view.spans[number]
        return first if first > start else min(last, end)
    cut = reach
    while cut > start + 1 and _are_one(view.hidden[cut - 1], view.hidden[cut]):
        cut -= 1
    return reach if _are_one(view.hidden[cut - 1], view.hidden[cut]) else cut


def _are_one(before: str, character: str) -> bool:
    """Return whether two characters render as one: a letter and a combining mark, or joined ones; not in spans."""
    if before == _MASK:
        return False
    return unicodedata.category(character)[0] == "M" or character in _JOINERS or before == "\u200d"


def _beside_spans(hidden: str, start: int, end: int, after_span: bool, before_span: bool) -> Span:
    """Return a range without the separators and brackets that belong to the spans beside it."""
    if after_span and (separators := _SEPARATORS.match(hidden, start, end)):
        start = separators.end()
    if before_span and (openers := _OPENERS.search(hidden, max(start, end - _OPENERS_LENGTH), end)):
        end = openers.start()
    return start, end


def _core(hidden: str, start: int, end: int) -> Span:
    """Return a range without the white space at its ends; empty where it has no words."""
    if not _has_words(hidden, start, end):
        return end, end
    while hidden[start].isspace():
        start += 1
    while hidden[end - 1].isspace():
        end -= 1
    return start, end


def _has_words(hidden: str, start: int, end: int) -> bool:
    """Return whether a range has words to translate outside its spans."""
    found = _WORDS.search(hidden, start, end)
    return found is not None and (found[0].isalpha() or has_words(hidden[start:end]))


def _part(text: str, start: int, end: int, spans: list[Span]) -> Part:
    return Part(text[start:end], True, tuple((a - start, b - start) for a, b in spans) if spans else ())


def _parts(text: str, ranges: Iterable[Range]) -> list[Part]:
    """Return the whole text as parts: the given ranges, which are translated, and the kept text between them."""
    parts, position = [], 0
    for start, end, spans in ranges:
        if start > position:
            parts.append(Part(text[position:start], False))
        parts.append(_part(text, start, end, spans))
        position = end
    if position < len(text):
        parts.append(Part(text[position:], False))
    return parts
