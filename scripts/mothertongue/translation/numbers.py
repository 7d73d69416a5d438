"""The numbers of a segment that its translation must have, in whatever way its language tells them.

Numbers of two digits or more, in the digits of any script: languages write smaller ones in words. Large ones count
without their outer zeros ("2 million", "mil"), and times, ranges and dates part by part.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mothertongue.translation.protected_spans import Span

# Letters of scripts with capitals: digits beside one are part of a name, an ordinal number ("3rd") or a decade
# ("1990s"), which other languages write in words, or have a unit. Other scripts have no space beside numbers.
CASED = "A-Za-zªµº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0370-\u058f\u1e00-\u1fff"
_UNIT = (
    "(?:[kKMGTPcdmnµμ]?(?:g|m|[lL]|Wh?|Hz|i?B|bps|V|Ah?|Pa|J)|min|hr?s?|[ap]\\.?m|fps|mph|rpm|p|px|lbs?|oz|ft|x|[kKCF]"
    "|к?[гм]|[см]м|м?л)"
)
_MYRIADS = "万萬만億亿억兆조"
_PART = rf"\d+(?:[.,٫٬{_MYRIADS}]\d+)*"
# Numbers, also in times, ranges, dates and beside units; neither months nor centuries, which are words elsewhere.
_NUMBER = re.compile(
    rf"(?<![{CASED}_.,:\d])(?<![{CASED}_]-)(?<!\d[-–/]){_PART}(?:[-–/:]{_PART})*"
    rf"(?![\d_]|[.,]\d|[:-][{CASED}]|\s?(?:[月월千천進进진]|世[纪紀]|세기|[年년][代대]))(?:(?![{CASED}])|(?={_UNIT}(?![{CASED}_\d])))"
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
# Round numbers that translations have in digits; 10, 100 and larger ones may be words.
_ROUND = frozenset(str(number) for number in (*range(20, 100, 10), *range(200, 1000, 100)))
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class _Told:
    """What a translation tells: its numbers by their digits, and `groups`, all groups of digits in their order.

    `alike` has the numbers by their digits without outer zeros.
    """

    numbers: frozenset[str]
    alike: Mapping[str, Sequence[str]]
    groups: str

    @classmethod
    def of(cls, text: str) -> "_Told":
        """Return the numbers of a text, with and without separators."""
        groups = [digits_of(group) for group in _PIECE.findall(text)]
        numbers = {*groups, *map("".join, _YEARS.findall(text))}
        numbers.update(_CENTURIES[word] for word in _WORD.findall(text) if word in _CENTURIES)
        for number in _TOLD.findall(text):
            numbers.update((_value(number), digits_of(number)))
        alike = defaultdict(list)
        for digits in numbers:
            alike[digits.strip("0")].append(digits)
        return cls(frozenset(numbers), alike, f" {' '.join(groups)} ")

    def has(self, groups: Sequence[str]) -> bool:
        """Return whether these groups of digits follow each other."""
        return f" {' '.join(groups)} " in self.groups


def lost(source: str, translation: str) -> tuple[Span, ...]:
    """Return the places of the numbers that a translation lacks."""
    found = list(_NUMBER.finditer(source))
    if not found:
        return ()
    told = _Told.of(translation)
    return tuple(match.span() for match in found if not _is_told(match, told))


def _is_told(number: re.Match[str], told: _Told) -> bool:
    """Return whether each part of a number, time, range or date is told."""
    parts = list(_PARTS.finditer(number.string, *number.span()))
    is_date = len(parts) == 3
    if is_date:
        # Languages write a date's month in words.
        parts = [part for part in parts if len(part[0]) > 2 or int(part[0]) > 12]
    whole = {short: century + short for century, short in _YEARS.findall(number[0])}
    return all(_part_is_told(part, told, is_date) or whole.get(part[0]) in told.numbers for part in parts)


def _part_is_told(part: re.Match[str], told: _Told, is_date: bool) -> bool:
    digits, pieces = _value(part[0]), [digits_of(piece) for piece in _PIECE.findall(part[0])]
    if any(told.has(other) for other in _other_forms(part, digits, pieces, is_date)):
        return True
    short, scaled = digits.strip("0"), _SCALE.match(part.string, part.end()) is not None
    alike = told.alike.get(short, ())
    if len(short) < 2:
        if digits not in _ROUND or not part[0].isdecimal() or scaled:
            return True  # Other languages write it in words.
        return any(len(one) >= len(digits) for one in alike)
    if not scaled and _WHOLE.fullmatch(part[0]):
        # A word may stand for two zeros or more.
        alike = [one for one in alike if abs(_zeros(one) - _zeros(digits)) != 1]
    # Enumerated without spaces; of a decimal fraction the digits stay together.
    several = len(pieces) > 2 or (len(pieces) > 1 and min(map(len, pieces)) > 1)
    return bool(alike) or told.has(pieces) or (several and all(piece in told.numbers for piece in pieces))


def _other_forms(part: re.Match[str], digits: str, pieces: Sequence[str], is_date: bool) -> Iterator[Sequence[str]]:
    """Yield other forms of a time, or of a year or decade, which may have two digits or four, as groups of digits."""
    if len(digits) <= 4 and _CLOCK.match(part.string, part.end()):
        yield from ((str(int(pieces[0]) + hours), *pieces[1:]) for hours in (-12, 12))
    centuries = ("19", "20") if is_date else ("19",) if digits.endswith("0") else ()
    if len(digits) == 2:
        yield from ([century + digits] for century in centuries)
    elif len(digits) == 4 and digits.startswith(centuries):
        yield [digits[2:]]


def _zeros(digits: str) -> int:
    return len(digits) - len(digits.rstrip("0"))


def _value(number: str) -> str:
    """Return the digits of a number, four behind the sign of a myriad."""
    first, *rest = _MYRIAD.split(number)
    return digits_of(first) + "".join(digits_of(part).zfill(4) for part in rest)


def digits_of(text: str) -> str:
    """Return the digits of a text as ASCII, from any script, without separators."""
    return "".join(str(int(character)) for character in text if character.isdecimal())
