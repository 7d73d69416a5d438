"""Glossaries: terms that a language translates in one way, or leaves as they are (config/glossary/{lang}.tsv).

A translation is looked through for the terms of its source. One that lacks a term is tried again with the term's own
translation in its place, as code is protected; where that does not help, the message says `glossary`.
"""

import re
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
_WORD = re.compile(r"\w+")
# Letters that an inflected word may have more than its base form, in the source and in the translation.
_ENDING, _ENDING_TRANSLATED = r"(?:s|es|'s|’s)?", r"\w{0,4}"


@dataclass(frozen=True)
class Term:
    """A term of the source language and its translation, the term itself where it is kept.

    Unless `exact`, plurals of the term count as well, and inflected forms of its translation; `case`: only in these
    capitals.
    """

    source: str
    target: str
    case: bool = False
    exact: bool = False
    unspaced: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The term in a source text, where it begins at the position of the match."""
        words = r"\s+".join(map(re.escape, self.source.split()))
        end = "" if self.unspaced else rf"{'' if self.exact else _ENDING}(?!\w)"
        return re.compile(words + end, 0 if self.case else re.IGNORECASE)

    @cached_property
    def expected(self) -> re.Pattern[str]:
        """The term's translation anywhere in a text."""
        words = self.target.split()
        if self.exact or self.target == self.source:
            pattern = r"\s+".join(map(re.escape, words))
        else:
            pattern = r"\s+".join(re.escape(_stem(word)) + _ENDING_TRANSLATED for word in words)
        return re.compile(pattern, 0 if self.case else re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A term in a source text, whether its translation has it, and where it can be replaced safely."""

    term: Term
    span: Span
    hit: bool
    replaceable: bool


class Glossary:
    """The terms of one source language."""

    def __init__(self, terms: list[Term]) -> None:
        self.terms = terms
        # By the first word in lower case, the longest term first; terms of unspaced languages by their first letter.
        self._by_word: dict[str, list[Term]] = {}
        for term in sorted(terms, key=lambda term: -len(term.source)):
            first = _WORD.search(term.source)
            key = term.source[0] if term.unspaced or not first else first[0]
            self._by_word.setdefault(key.lower(), []).append(term)

    def find(self, text: str, translation: str) -> list[Found]:
        """Return the terms of a text; of overlapping ones the first and longest.

        A term can be replaced safely where it stands in its base form: an inflected one would need an inflected
        translation. Of a term that stands several times, as many must be in the translation.
        """
        found: list[Found] = []
        for span, term in self._places(text):
            whole = text[slice(*span)]
            needed = 1 + sum(other.term == term for other in found)
            hit = sum(1 for _ in term.expected.finditer(translation)) >= needed
            found.append(Found(term, span, hit, len(whole.split()[-1]) == len(term.source.split()[-1])))
        return found

    def missed(self, text: str, translation: str) -> tuple[list[Found], dict[Span, str]]:
        """Return the terms that a translation lacks, and what replaces those that can be replaced safely."""
        lacking = [one for one in self.find(text, translation) if not one.hit]
        kept = {one.span: text[slice(*one.span)] for one in lacking if one.term.target == one.term.source}
        given = {one.span: one.term.target for one in lacking if one.replaceable and one.span not in kept}
        return lacking, kept | given

    def _places(self, text: str) -> Iterator[tuple[Span, Term]]:
        end = 0
        for word, start in _starts(text, self._by_word):
            if start < end:
                continue
            for term in self._by_word[word]:
                if match := term.pattern.match(text, start):
                    end = match.end()
                    yield match.span(), term
                    break


def read(path: Path, lang: str) -> Glossary:
    """Read the terms of source language `lang` from a table with the columns term, translation, source and options.

    Raise UserError naming the line of a term that is empty, given twice with different translations, or has an unknown
    option.
    """
    try:
        rows = read_table(path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path}: not a readable table ({error})") from None
    terms: dict[str, Term] = {}
    for number, row in enumerate(rows, 2):
        if unknown := sorted(str(name) for name in row.keys() - {*_COLUMNS}):
            raise UserError(f"{path}: unknown column '{unknown[0]}' (expected {', '.join(_COLUMNS)}, tab-separated)")
        values = {name: " ".join((row.get(name) or "").split()) for name in _COLUMNS}
        if not values["term"] and not values["translation"]:
            continue
        if not values["term"] or not values["translation"]:
            raise UserError(f"{path} line {number}: a term and its translation are needed ({KEEP}: leave it as it is)")
        options = values["options"].replace(",", " ").split()
        if wrong := [option for option in options if option not in OPTIONS]:
            raise UserError(f"{path} line {number}: unknown option '{wrong[0]}' (expected {', '.join(OPTIONS)})")
        if (values["source"] or ENGLISH) != lang:
            continue
        keep = values["translation"] == KEEP
        term = Term(
            values["term"],
            values["term"] if keep else values["translation"],
            case=keep or "case" in options,
            exact=keep or "exact" in options,
            unspaced=lang in UNSPACED,
        )
        if terms.setdefault(term.source, term) != term:
            raise UserError(f"{path} line {number}: the term '{term.source}' is there twice; keep one of them")
    return Glossary(list(terms.values()))


def _starts(text: str, words: dict[str, list[Term]]) -> Iterator[tuple[str, int]]:
    """Yield the places of the words that begin a term; each letter is a word where it begins a term by itself."""
    places = [(form, match.start()) for match in _WORD.finditer(text) for form in _without_ending(match[0].lower())]
    if any(term.unspaced or not _WORD.match(term.source) for terms in words.values() for term in terms):
        places += [(letter.lower(), at) for at, letter in enumerate(text)]
    # The longer form of a word first: "news" is no plural where it is a term.
    found = {(word, start) for word, start in places if word in words}
    yield from sorted(found, key=lambda place: (place[1], -len(place[0])))


def _without_ending(word: str) -> Iterator[str]:
    """Yield a word, and without the endings of plurals."""
    yield word
    yield from (word[: -len(ending)] for ending in ("s", "es") if word.endswith(ending))


def _stem(word: str) -> str:
    """Return a word without the letters that inflection changes most often: one of four or five, two of more."""
    return word[:-2] if len(word) > 5 else word[:-1] if len(word) > 3 else word
