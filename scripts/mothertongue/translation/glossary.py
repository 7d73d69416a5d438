"""Glossaries: terms that a language translates in one way, or leaves as they are (config/glossary/{lang}.tsv).

A translation is looked through for the terms of its source. One that lacks a term is tried again with the term's own
translation in its place, as code is protected; where that does not help, the message says `glossary`.
"""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.common.languages import ENGLISH, UNSPACED
from mothertongue.common.tsv import read_table
from mothertongue.translation.protected_spans import Span

KEEP = "="
OPTIONS = ("case", "exact")
_COLUMNS = ("term", "translation", "source", "options")
# A letter, digit or underscore, and the marks that belong to a letter in Indic and other scripts.
_W = r"[\w\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0d7f]"
_WORD = re.compile(f"{_W}+")
# Letters that an inflected word may have more than its base form, in an English source and in a translation.
_ENDING, _ENDING_TRANSLATED = r"(?:s|es|'s|’s)?", f"{_W}{{0,4}}"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?")


@dataclass(frozen=True)
class Term:
    """A term of the source language and its translation, the term itself where it is kept.

    Unless `exact`, plurals of the term count as well, and inflected forms of its translation; `case`: only in these
    capitals. `spaced` tells whether source and target language write spaces between words.
    """

    source: str
    target: str
    case: bool = False
    exact: bool = False
    spaced: tuple[bool, bool] = (True, True)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The term in a source text, where it begins at the position of the match."""
        ending = "" if self.exact or not self.spaced[0] else _ENDING
        return self._compiled(r"\s+".join(map(re.escape, self.source.split())), self.source, ending, self.spaced[0])

    @cached_property
    def expected(self) -> re.Pattern[str]:
        """The term's translation anywhere in a text."""
        words = self.target.split()
        plain = r"\s+".join(map(re.escape, words))
        if not self.exact and self.spaced[1]:
            inflected = r"\s+".join(re.escape(_stem(word)) + _ENDING_TRANSLATED for word in words)
            plain = f"(?:{plain}|{inflected})"
        return self._compiled(plain, self.target, "", self.spaced[1])

    def _compiled(self, pattern: str, text: str, ending: str, spaced: bool) -> re.Pattern[str]:
        """Return a pattern of whole words; scripts without spaces have bounds at letters of other scripts alone."""
        before, after = (spaced or edge.isascii() for edge in (text[0], text[-1]))
        start = f"(?<!{_W})" if before and _WORD.match(text[0]) else ""
        end = f"{ending}(?!{_W})" if after and _WORD.match(text[-1]) else ""
        return re.compile(f"{start}{pattern}{end}", 0 if self.case else re.IGNORECASE)

    def as_written(self, found: str) -> str:
        """Return the translation in the capitals of the term where it was found: all, the first, or its own."""
        if self.case:
            return self.target
        if len(found) > 1 and found.isupper() and not self.source.isupper():
            return self.target.upper()
        first = found[:1].isupper() and self.source[:1].islower()
        return self.target[:1].upper() + self.target[1:] if first else self.target


@dataclass(frozen=True)
class Found:
    """A term in a source text: its place, whether the translation has it, and what may stand for it (None: nothing)."""

    term: Term
    span: Span
    hit: bool
    replacement: str | None


class Glossary:
    """The terms of one source language."""

    def __init__(self, terms: list[Term]) -> None:
        self.terms = terms
        # By the first word in lower case, and then the second; the longest term first. What begins with a sign, or in
        # a script without spaces, by its first character.
        self._by_start: dict[str, dict[str | None, list[Term]]] = {}
        self._by_letter = False
        for term in sorted(terms, key=lambda term: -len(term.source)):
            words = _WORD.findall(term.source.lower())
            by_letter = not term.spaced[0] or not _WORD.match(term.source)
            self._by_letter |= by_letter
            start = term.source[0].lower() if by_letter else words[0]
            second = None if by_letter or len(words) < 2 else words[1]
            self._by_start.setdefault(start, {}).setdefault(second, []).append(term)

    def find(self, text: str, translation: str) -> list[Found]:
        """Return the terms of a text; of overlapping ones the first and longest.

        Of a term that stands several times, as many must be in the translation; what stands for one term stands for no
        other. A term can be replaced where it stands in its base form: a plural would need one of the translation.
        """
        places = list(self._places(text))
        if not places:
            return []
        needed = Counter(term for _, term in places)
        hits: Counter[Term] = Counter()
        shown = unicodedata.normalize("NFC", translation)
        taken = bytearray(len(shown))
        for term in sorted(needed, key=lambda term: -len(term.target)):
            for match in term.expected.finditer(shown):
                start, end = match.span()
                if hits[term] < needed[term] and not any(taken[start:end]):
                    hits[term] += 1
                    taken[start:end] = b"1" * (end - start)
        found = []
        for span, term in places:
            whole = text[slice(*span)]
            base = whole.split()[-1].casefold() == term.source.split()[-1].casefold()
            found.append(Found(term, span, hits[term] > 0, term.as_written(whole) if base else None))
            hits[term] -= 1
        return found

    def missed(self, text: str, translation: str) -> tuple[list[Found], dict[Span, str]]:
        """Return the terms that a translation lacks, and what replaces those that can be replaced.

        Where one of several uses is lacking, which of them the translation has is unknown: all are replaced.
        """
        found = self.find(text, translation)
        lacking = {one.term for one in found if not one.hit}
        given = {one.span: one.replacement for one in found if one.term in lacking and one.replacement is not None}
        return [one for one in found if not one.hit], given

    def _places(self, text: str) -> Iterator[tuple[Span, Term]]:
        """Yield the places of the terms in order, none within another."""
        words = [(match[0].lower(), match.start()) for match in _WORD.finditer(text)]
        starts = [
            (at, form, words[number + 1][0] if number + 1 < len(words) else "")
            for number, (word, at) in enumerate(words)
            for form in _forms(word)
            if form in self._by_start
        ]
        if self._by_letter:
            letters = ((at, letter.lower()) for at, letter in enumerate(text))
            starts = sorted(starts + [(at, letter, "") for at, letter in letters if letter in self._by_start])
        end = 0
        for start, word, following in starts:
            terms = self._by_start[word]
            # Of two words the second may be in its plural.
            candidates = [term for form in _forms(following) for term in terms.get(form, [])] + terms.get(None, [])
            for term in candidates if start >= end else ():
                if match := term.pattern.match(text, start):
                    end = match.end()
                    yield match.span(), term
                    break


def read(path: Path, source: str, target: str) -> Glossary:
    """Read the terms of a language `source` from a table with the columns term, translation, source and options.

    Raise UserError naming the line of a term that is empty, given twice with different translations, or has an unknown
    language or option.
    """
    try:
        rows = read_table(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable table ({error})") from None
    terms: dict[str, Term] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path} row {number}"
        if None in row:
            raise UserError(f"{where}: more cells than columns ({', '.join(_COLUMNS)}, tab-separated)")
        if unknown := sorted(row.keys() - {*_COLUMNS}):
            raise UserError(f"{path}: unknown column '{unknown[0]}' (expected {', '.join(_COLUMNS)}, tab-separated)")
        values = {name: unicodedata.normalize("NFC", " ".join((row.get(name) or "").split())) for name in _COLUMNS}
        if not values["term"] or not values["translation"]:
            raise UserError(f"{where}: a term and its translation are needed ({KEEP}: leave it as it is)")
        options = values["options"].replace(",", " ").split()
        if wrong := [option for option in options if option not in OPTIONS]:
            raise UserError(f"{where}: unknown option '{wrong[0]}' (expected {', '.join(OPTIONS)})")
        if not _LANGUAGE.fullmatch(language := values["source"] or ENGLISH):
            raise UserError(f"{where}: '{language}' is not a language code such as en or zh-Hant")
        if language != source:
            continue
        keep = values["translation"] == KEEP
        term = Term(
            values["term"],
            values["term"] if keep else values["translation"],
            case=keep or "case" in options,
            exact=keep or "exact" in options,
            spaced=(source not in UNSPACED, target not in UNSPACED),
        )
        if terms.setdefault(term.source if term.case else term.source.casefold(), term) != term:
            raise UserError(f"{where}: the term '{term.source}' is there twice; keep one of them")
    return Glossary(list(terms.values()))


def _forms(word: str) -> Iterator[str]:
    """Yield a word, and without the endings of plurals; the longest first: "news" is no plural where it is a term."""
    yield word
    yield from (word[: -len(ending)] for ending in ("s", "es") if word.endswith(ending))


def _stem(word: str) -> str:
    """Return a word without the letters that inflection changes most often: one of four or five, two of more."""
    return word[:-2] if len(word) > 5 else word[:-1] if len(word) > 3 else word
