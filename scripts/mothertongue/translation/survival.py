"""What a translation must keep of its segment: names, amounts, numbers, signs, brackets and quotation marks.

Each kind has a name, which becomes a reason of the message, and the places in the source where it stands: a second
attempt protects these as code is protected.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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
# Letters of scripts with capitals: digits beside one are part of a name, an ordinal number ("3rd") or a decade
# ("1990s"), which other languages write in words, or have a unit. Other scripts have no space beside numbers.
_CASED = "A-Za-zªµº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0370-\u058f\u1e00-\u1fff"
_UNIT = (
    "(?:[kKMGTPcdmnµμ]?(?:g|m|[lL]|Wh?|Hz|i?B|bps|V|Ah?|Pa|J)|min|hr?s?|[ap]\\.?m|fps|mph|rpm|p|px|lbs?|oz|ft|x|[kKCF]"
    "|к?[гм]|[см]м|м?л)"
)
_MYRIADS = "万萬만億亿억兆조"
_PART = rf"\d+(?:[.,٫٬{_MYRIADS}]\d+)*"
# Numbers, also in times, ranges, dates and beside units; neither months nor centuries, which are words elsewhere.
_NUMBER = re.compile(
    rf"(?<![{_CASED}_.,:\d])(?<![{_CASED}_]-)(?<!\d[-–/]){_PART}(?:[-–/:]{_PART})*"
    rf"(?![\d_]|[.,]\d|[:-][{_CASED}]|\s?(?:[月월千천進进진]|世[纪紀]|세기|[年년][代대]))(?:(?![{_CASED}])|(?={_UNIT}(?![{_CASED}_\d])))"
)
# Numbers with at most separators of thousands.
_WHOLE = re.compile(r"\d+(?:[.,٬]\d{3})*")
_PARTS, _PIECE, _MYRIAD = re.compile(_PART), re.compile(r"\d+"), re.compile(f"[{_MYRIADS}]")
# What makes a number larger in words: one of some zeros may have others in a translation ("120 million", "1.2億").
_SCALE = re.compile(
    rf"\s?(?:[{_MYRIADS}]|(?:thousand|tausend|duizend|mil|lakh|crores?|bn|juta)\b|mil(?:li|lo|h[oõ]|[jy][oa]|i[oa])"
    r"|bil(?:li|lo|h[oõ]|[jy]o)|tri(?:ll|lh|lj)|mio|mrd|ml[dn]|tỷ|тыс|мил|мл[нр]|мільй|εκατο|ألف|ملي|میلی|מילי|ล้าน"
    r"|हज|लाख|करोड़|अरब|मिलि)",
    re.IGNORECASE,
)
# Clocks have 12 or 24 hours.
_CLOCK = re.compile(r":\d\d|\s?(?:[ap]\.?m\b|[hu]\b|h\d\d|uhr\b|uur\b|[点點時时시])", re.IGNORECASE)
_YEARS = re.compile(r"(?=(\d\d)\d\d[-–/](\d\d)(?!\d))")
# Numbers of a translation, with separators of thousands, and centuries.
_TOLD = re.compile(rf"\d+(?:[.,٫٬'’{_MYRIADS}]\d+|[ \u00a0\u202f\u2009]\d{{3}}(?!\d))*")
_CENTURIES = {
    "XI": "11", "XII": "12", "XIII": "13", "XIV": "14", "XV": "15", "XVI": "16", "XVII": "17", "XVIII": "18",
    "XIX": "19", "XX": "20", "XXI": "21",
}  # fmt: skip
# Names with digits ("H2O", "COVID-19"), and versions: neither a time nor an ordinal number, nor a placeholder.
_CODE_NAME = re.compile(
    rf"(?<![{_CASED}\d_.-])(?!{PLACEHOLDER})(?:[A-Za-z]+-?[0-9][{_CASED}\d_.-]*(?<![.-])|v?[0-9]+(?:\.[0-9]+){{2,}})"
    rf"(?![{_CASED}\d_-])"
)
# Round numbers that translations have in digits; 10, 100 and larger ones may be words.
_ROUND = frozenset(str(number) for number in (*range(20, 100, 10), *range(200, 1000, 100)))
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


@dataclass(frozen=True)
class Told:
    """The numbers of a translation, by their digits; `groups` has the groups of digits in their order."""

    numbers: frozenset[str]
    groups: str


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
    """Return the numbers of two digits or more that a translation lacks.

    Large ones count without outer zeros ("2 million", "mil"), times and ranges part by part.
    """
    found = list(_NUMBER.finditer(source))
    told = _told(translation) if found else Told(frozenset(), "")
    lost = tuple(match.span() for match in found if not _is_told(match, told))
    return Loss("numbers", lost) if lost else None


def _is_told(number: re.Match[str], told: Told) -> bool:
    """Return whether a translation with the numbers `told` has each part of a number, time, range or date."""
    parts = list(_PARTS.finditer(number.string, *number.span()))
    is_date = len(parts) == 3
    if is_date:
        # Languages write a date's month in words.
        parts = [part for part in parts if len(part[0]) > 2 or int(part[0]) > 12]
    whole = {short: century + short for century, short in _YEARS.findall(number[0])}
    return all(_part_is_told(part, told, is_date) or whole.get(part[0]) in told.numbers for part in parts)


def _part_is_told(part: re.Match[str], told: Told, is_date: bool) -> bool:
    digits, pieces = _value(part[0]), [_digits(piece) for piece in _PIECE.findall(part[0])]
    short = digits.strip("0")
    others = set()
    if len(digits) <= 4 and _CLOCK.match(part.string, part.end()):
        others |= {" ".join((str(int(pieces[0]) + hours), *pieces[1:])) for hours in (-12, 12)}
    # Years of dates, and decades, may have two digits or four.
    centuries = ("19", "20") if is_date else ("19",) if digits.endswith("0") else ()
    if len(digits) == 2:
        others |= {century + digits for century in centuries}
    elif len(digits) == 4 and digits.startswith(centuries):
        others.add(digits[2:])
    if any(f" {other} " in told.groups for other in others):
        return True
    scaled = _SCALE.match(part.string, part.end()) is not None
    if len(short) < 2:
        if digits not in _ROUND or not part[0].isdecimal() or scaled:
            return True  # Other languages write it in words.
        return any(one.strip("0") == short and len(one) >= len(digits) for one in told.numbers)
    alike = [one for one in told.numbers if one.strip("0") == short]
    if not scaled and _WHOLE.fullmatch(part[0]):
        # A word may stand for two zeros or more.
        alike = [one for one in alike if abs(_zeros(one) - _zeros(digits)) != 1]
    # Enumerated without spaces; of a decimal fraction the digits stay together.
    several = len(pieces) > 2 or (len(pieces) > 1 and min(map(len, pieces)) > 1)
    return (
        bool(alike)
        or f" {' '.join(pieces)} " in told.groups
        or (several and all(piece in told.numbers for piece in pieces))
    )


def _zeros(digits: str) -> int:
    return len(digits) - len(digits.rstrip("0"))


def _told(text: str) -> Told:
    """Return the numbers of a text, with and without separators, and those that it tells otherwise."""
    found = {_CENTURIES[word] for word in _WORD.findall(text) if word in _CENTURIES}
    found.update(map("".join, _YEARS.findall(text)))
    for number in _TOLD.findall(text):
        found.update((_value(number), _digits(number)))
    groups = [_digits(group) for group in _PIECE.findall(text)]
    return Told(frozenset((*found, *groups)), f" {' '.join(groups)} ")


def _value(number: str) -> str:
    """Return the digits of a number, four behind the sign of a myriad."""
    first, *rest = _MYRIAD.split(number)
    return _digits(first) + "".join(_digits(part).zfill(4) for part in rest)


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


def _digits(text: str) -> str:
    """Return the digits of a text as ASCII, from any script, without separators."""
    return "".join(str(int(character)) for character in text if character.isdecimal())
