"""What a translation must keep of its segment: names, amounts, numbers, signs, brackets and quotation marks.

Each kind has a name, which becomes a reason of the message, and the places in the source where it stands: a second
attempt protects these as code is protected.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mothertongue.translation import numbers
from mothertongue.translation.numbers import CASED
from mothertongue.translation.protected_spans import Span
from mothertongue.translation.segments import PLACEHOLDER

# Losses without places of their own: what is unbalanced.
PAIRED = frozenset({"brackets", "quotes"})

# Currency signs. With another one an amount is wrong, and the name of a currency is often that of another.
_CURRENCY = "$€£¥₹₩₽¢₫₱₴₺₦฿"
_OTHER_DOLLARS = re.compile(r"(?<![A-Z])[A-Z]{1,3}\$")
# Signs of formulas, code, handles and markup that no language writes in words. A sign beside digits is an operator.
_SIGN = re.compile(r"[\^~@#{}<>=|\\_]|[+/%](?<=[0-9].)|[+/](?=[0-9])|[+&](?<=\w.)(?!\s)|(?<![\w)])[-−](?=[0-9])")
_SAME_SIGN = {
    "−": "-",
    "％": "%",
    "＝": "=",
    "＋": "+",
    "＜": "<",
    "＞": ">",
    "＠": "@",
    "＃": "#",
    "～": "~",
    "｜": "|",
}
_SAME_SIGN |= {"﹪": "%", "٪": "%"}
# Signs of markup that a translation must not add, each with its wide form.
_WIDE = {"|": "｜", "<": "＜", ">": "＞", "{": "｛", "}": "｝", "#": "＃"}
# Tokens between white space without the punctuation around them.
_TOKEN = re.compile(r"[^\s\"“”„«»()\[\]]*[^\s\"“”„«»()\[\].,;:!?…']")
# Names with digits ("H2O", "COVID-19"), and versions: neither a time nor an ordinal number, nor a placeholder.
_CODE_NAME = re.compile(
    rf"(?<![{CASED}\d_.-])(?!{PLACEHOLDER})(?:[A-Za-z]+-?[0-9][{CASED}\d_.-]*(?<![.-])|v?[0-9]+(?:\.[0-9]+){{2,}})"
    rf"(?![{CASED}\d_-])"
)
_ACCENTED = re.compile(r"[^\W\d_]*[^\W\d_\x00-\x7f][^\W\d_]*")
_WORD = re.compile(r"[^\W\d_]+(?:['’´`^~][^\W\d_]+)*")
_LATIN_LETTER = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]+")
_BRACKETS = {"(（": "(", ")）": ")", "[【〔": "[", "]】〕": "]"}
_BRACKET = {character: plain for characters, plain in _BRACKETS.items() for character in characters}
# A remark in brackets, or an open one that runs to the end: where any other ends cannot be seen.
_ADDED = re.compile(r"[ ]?\([^()]{0,60}\)|[ ]?\([^()]{0,30}$")
_QUOTE = re.compile("[\"“”„‟«»「」『』《》〈〉〝〞＂]|''|``")
# What stands between single quotation marks, in languages with apostrophes too.
_SINGLE = re.compile(
    r"(?<![\w'])['‘][\w(][^'‘’\n]{0,80}(?:(?<=\w)['’](?=\w)[^'‘’\n]{0,80}){0,4}(?<=[\w.,!?)])['’](?!\w)"
)
_INCHES = re.compile(r"(?<=[0-9])\"")


@dataclass(frozen=True)
class Loss:
    """A kind of what a translation lacks or has spoilt, and its places in the source (none: only a count is off).

    `given` has the places that a glossary gives another text in the translation.
    """

    kind: str
    spans: tuple[Span, ...]
    given: Mapping[Span, str] = field(default_factory=dict)


def losses(source: str, translation: str, lang: str, target_is_latin: bool) -> Iterator[Loss]:
    """Yield what the translation of a segment in language `lang` lacks, one loss a kind."""
    checks = (_amounts, _signs, _numbers, _code_names, _brackets, _quotes)
    for check in checks:
        if loss := check(source, translation):
            yield loss
    if target_is_latin and not source.isascii() and (loss := _names(source, translation, wide=lang == "en")):
        yield loss


def tidy(source: str, translation: str) -> str:
    """Return a translation without spaces behind its opening brackets, where its source has none."""
    for bracket in "([":
        if f"{bracket} " in translation and f"{bracket} " not in source:
            translation = translation.replace(f"{bracket} ", bracket)
    return translation


def without_added_brackets(source: str, translation: str) -> str:
    """Return a translation without what it says in round brackets where its source has none: "Haskell (em inglês)".

    Small models add such explanations of names, and often leave them open. What is left must be as long as the source,
    but for a full stop: the brackets of a shorter one have a part of it.
    """
    if "(" not in translation or any(bracket in source for bracket in "(（)"):
        return translation
    plain = _ADDED.sub("", translation)
    return plain if len(plain) + 1 >= len(source) else translation


def paired(text: str) -> list[Span]:
    """Return the places of brackets and quotation marks."""
    inches = {match.start() for match in _INCHES.finditer(text)}
    places = [match.span() for match in _QUOTE.finditer(text) if match.start() not in inches]
    return sorted(places + [(at, at + 1) for at, character in enumerate(text) if character in _BRACKET])


def _amounts(source: str, translation: str) -> Loss | None:
    lacking = {sign for sign in _CURRENCY if source.count(sign) > translation.count(sign)}
    if not lacking and "$" in translation:
        dollars = Counter(_OTHER_DOLLARS.findall(translation)) - Counter(_OTHER_DOLLARS.findall(source))
        # "US$ 5" is what other languages write for "$5".
        lacking = {"$"} if dollars.keys() - {"US$"} else set()
    return Loss("amounts", _tokens_with(source, lacking)) if lacking else None


def _signs(source: str, translation: str) -> Loss | None:
    expected = Counter(found[0] for found in _SIGN.finditer(source))
    plain = "".join(_SAME_SIGN.get(character, character) for character in translation) if expected else translation
    lacking = {sign for sign, count in expected.items() if plain.count(_SAME_SIGN.get(sign, sign)) < count}
    added = any(plain.count(sign) > source.count(sign) + source.count(_WIDE[sign]) for sign in _WIDE)
    return Loss("signs", _tokens_with(source, lacking)) if lacking or added else None


def _numbers(source: str, translation: str) -> Loss | None:
    spans = numbers.lost(source, translation)
    return Loss("numbers", spans) if spans else None


def _code_names(source: str, translation: str) -> Loss | None:
    folded = translation.casefold()
    lost = tuple(match.span() for match in _CODE_NAME.finditer(source) if match[0].casefold() not in folded)
    return Loss("names", lost) if lost else None


def _brackets(source: str, translation: str) -> Loss | None:
    counts = [
        Counter(_BRACKET[character] for character in text if character in _BRACKET) for text in (source, translation)
    ]
    return Loss("brackets", ()) if counts[0] != counts[1] else None


def _quotes(source: str, translation: str) -> Loss | None:
    counts = [_count_quotes(text) for text in (source, translation)]
    return Loss("quotes", ()) if counts[0] != counts[1] else None


def _count_quotes(text: str) -> int:
    return len(_QUOTE.findall(_INCHES.sub("", text))) + 2 * len(
        _SINGLE.findall(text) if "'" in text or "’" in text else ()
    )


def _names(source: str, translation: str, wide: bool) -> Loss | None:
    """Return the words with accented letters that a translation has in a damaged form.

    Damaged is a word without such a letter, or with another sign for it; in `wide`, for capitalised words (names in a
    language that has no such letters), with any other letters for it. Translated words are not damaged.
    """
    words = set(_WORD.findall(translation))
    lost = []
    for match in _ACCENTED.finditer(source):
        word = match[0]
        if word in words or not _LATIN_LETTER.fullmatch(word) or len(word) < 3:
            continue
        other = r"[^\W\d_]{0,2}" if wide and word[0].isupper() else ""
        form = "".join(letter if letter.isascii() else rf"(?:['’´`^~]?{other})" for letter in word)
        if any(re.fullmatch(form, found) for found in words):
            lost.append(match.span())
    return Loss("names", tuple(lost)) if lost else None


def _tokens_with(source: str, signs: set[str]) -> tuple[Span, ...]:
    return tuple(match.span() for match in _TOKEN.finditer(source) if signs.intersection(match[0]))
