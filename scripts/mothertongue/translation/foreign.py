"""Segments that are not in the source language: a translation model damages them, so they are kept, or read apart.

A message in several languages is common in conversations about languages, and messages carry wrong language tags.
"""

import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from mothertongue.common.language_id import identify, in_other_script, is_likely, other_language, our_code, stretches
from mothertongue.common.plain_text import byte_length
from mothertongue.translation import segments
from mothertongue.translation.segments import Part

# A segment of fewer UTF-8 bytes is judged only beside a longer one: it is in that language where the longer ones are
# most of the message, or where the identifier finds it likely.
_JUDGED_BYTES = 40
# The identifier's least probability of another language, by which a segment stays as it is; a segment beside one needs
# less.
_CONFIDENCE, _BESIDE = 0.8, 0.3
# Words that only English has, of the languages of most messages: a segment with one is English.
_ENGLISH = re.compile(
    r"(?i)(?<![\w'’])(?:the|and|you|your|that|with|this|what|which|from|they|there|their|would|should|could|because|please"
    r"|about|these|those|it['’]s|i['’]m|don['’]t|doesn['’]t|isn['’]t)(?![\w'’])"
)
# Languages that the identifier takes for one another.
_ALIKE = [
    frozenset(group.split())
    for group in (
        "da nb nn no sv",
        "hr bs sr sh sl",
        "cs sk",
        "id ms jv su",
        "es gl ast ca an",
        "pt gl",
        "ru uk be bg mk",
    )
]


@dataclass(frozen=True)
class Message:
    """The parts of a message, of which some are in other languages.

    `kept` are the languages of those that are not translated, `mostly` whether these are most of its text; `read` are
    those of the parts that are translated from a third language, and have it in `lang`.
    """

    parts: list[Part]
    kept: tuple[str, ...] = ()
    mostly: bool = False
    read: tuple[str, ...] = ()


def separate(parts: Sequence[Part], source: str, target: str, readable: Container[str] = ()) -> Message:
    """Keep the segments of a message that are surely in another language than the source.

    Where these are most of a message, its language tag is wrong: those in `readable` languages are to be translated. In
    other messages they are quoted, as in a question about a language, and stay.
    """
    parts = [one for part in parts for one in (_divided(part, source, target) if part.translate else [part])]
    asked = [part for part in parts if part.translate and not (source == "en" and _ENGLISH.search(part.text))]
    found: dict[Part, str] = {}
    for part in asked:
        if byte_length(part.text) >= _JUDGED_BYTES and (lang := _other(part.text, source, target, _CONFIDENCE)):
            found[part] = lang
    if not found:
        return Message(list(parts))
    most = Counter(found.values()).most_common(1)[0][0]
    size = sum(len(part.text) for part in parts if part in found)
    mostly = 2 * size > sum(len(part.text) for part in parts if part.translate)
    if not mostly:
        readable = ()
    for part in asked:
        # What only stands beside may be in the source's language, and is not read as another.
        beside = mostly and most not in readable and not _is_source(part.text, source)
        if part not in found and (beside or _other(part.text, source, target, _BESIDE) == most):
            found[part] = most
    separated = [_marked(part, found.get(part), readable) for part in parts]
    kept, read = ({lang for lang in found.values() if (lang in readable) is wanted} for wanted in (False, True))
    kept_size = sum(len(part.text) for part in parts if part in found and found[part] in kept)
    return Message(separated, tuple(sorted(kept)), mostly and 2 * kept_size > size, tuple(sorted(read)))


def _marked(part: Part, lang: str | None, readable: Container[str]) -> Part:
    """Return a part in another language to be kept, or to be translated from it; others as they are."""
    if lang is None:
        return part
    return replace(part, lang=lang) if lang in readable else replace(part, translate=False, spans=())


def _divided(part: Part, source: str, target: str) -> list[Part]:
    """Return the sentences of a part where some are surely in another language, and some surely in the source's.

    A chat model's parts are whole lines.
    """
    pieces = list(stretches(part.text, least=1))
    long = [one for one in pieces if byte_length(one) >= _JUDGED_BYTES]
    if len(pieces) < 2 or not any(_language(one, source, target, _CONFIDENCE) for one in long):
        return [part]
    sentences = segments.split(part.text, source)
    return sentences if any(one.translate and _is_source(one.text, source) for one in sentences) else [part]


def _is_source(text: str, source: str) -> bool:
    """Return whether a text is surely in the source's language."""
    found, probability = identify(text)
    return found == source and probability >= _CONFIDENCE


def _other(text: str, source: str, target: str, confidence: float) -> str | None:
    """Return the language of a segment where all of it is surely in one that is not the source's.

    One of its stretches is in it with this confidence, and those beside it are in no other.
    """
    pieces = list(stretches(text, _JUDGED_BYTES))
    found = {_language(piece, source, target, min(confidence, _BESIDE)) for piece in pieces}
    sure = {_language(piece, source, target, confidence) for piece in pieces} - {None}
    return sure.pop() if len(found) == 1 and found == sure else None


def _language(text: str, source: str, target: str, confidence: float) -> str | None:
    """Return the language of a stretch where it is surely not the source; the target where it is most likely that.

    Related languages are never ruled out for each other: Spanish may be Portuguese. A target that lid.176 does not
    support is never found, nor one in another script.
    """
    found = other_language(text, source, confidence)
    if not found or any({found, source} <= group for group in _ALIKE):
        return None
    if is_likely(text, target):
        return in_other_script(text, target) or target
    return our_code(found)
