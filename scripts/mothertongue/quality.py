"""Quality checks of a translated segment; each has a name that stands in a message's `reasons`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Limits:
    """When a check objects.

    `length_ratio`: UTF-8 bytes of the translation over those of its source, or the reverse; judged from
    `judged_bytes` bytes of source, since short segments vary widely. `repeats`: how often one to six words may
    follow themselves.
    """

    length_ratio: float = 4.0
    judged_bytes: int = 40
    repeats: int = 4


def objections(source: str, translation: str, limits: Limits) -> Iterator[str]:
    """The names of the checks that object to a segment's translation."""
    if not translation.strip():
        yield "empty"
        return
    if _is_copy(source, translation):
        yield "untranslated"
    long, short = sorted((len(source.encode()), len(translation.encode())), reverse=True)
    if len(source.encode()) >= limits.judged_bytes and long > limits.length_ratio * short:
        yield "length ratio"
    if _repeats(translation) > max(limits.repeats, _repeats(source)):
        yield "repetition"


def _is_copy(source: str, translation: str) -> bool:
    """Whether the model only copied: at least four words, more than one of them not a name (not capitalised)."""
    words = _WORD.findall(source)
    ordinary = [word for word in words if word[:1].islower()]
    return len(words) >= 4 and len(ordinary) > 1 and words == _WORD.findall(translation)


def _repeats(text: str) -> int:
    """How often the most repeated run of one to six words follows itself."""
    words = _WORD.findall(text.lower())
    most = 1
    for size in range(1, 7):
        run = 0
        for at in range(size, len(words)):
            run = run + 1 if words[at] == words[at - size] else 0
            most = max(most, run // size + 1)
    return most
