"""What a chat model may write besides an answer: its thoughts, a refusal, characters that are no text."""

import re
import unicodedata

from mothertongue.common.plain_text import visible

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
# What stands for a character that could not be read.
_DAMAGED = "\ufffd"
# What good text has that else counts as no text: flags whose region is in tags, direction marks, as Arabic and Hebrew
# need them, and pictures that are newer than Python's tables.
_ORDINARY = re.compile(
    "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f|[\u061c\u200e\u200f\U0001f000-\U0001faff]"
)
_REFUSAL = re.compile(
    r"(?i)\W*(?:i['’]?m (?:really |very )?(?:sorry|unable|not able)|i am (?:sorry|unable)|i can(?:not|['’]t)|i won['’]t"
    r"|sorry|as an ai|unfortunately|desculp|lamento|sinto muito|infelizmente|lo siento|no puedo|d[ée]sol[ée]"
    r"|je (?:suis d[ée]sol|ne peux)|(?:es )?tut mir leid|leider|ich kann|het spijt|helaas|mi dispiace|purtroppo)"
)


def without_thought(answer: str) -> str:
    """Return an answer without the thought between `<think>` and `</think>` that it begins with."""
    return _THOUGHT.sub("", answer)


def declines(answer: str) -> bool:
    """Return whether an answer begins as refusals do; only some languages are known."""
    return _REFUSAL.match(answer) is not None


def has_control_characters(text: str, source: str = "") -> bool:
    """Return whether a text has characters that are no text, and that its source does not have."""
    if text.isprintable() and _DAMAGED not in text:
        return False
    return any(_acts(character) for character in {*_ORDINARY.sub("", text)} - {*source})


def _acts(character: str) -> bool:
    """Return whether a character is no text: a control or private character, or what stands for a damaged one."""
    is_text = unicodedata.category(character) not in ("Cc", "Cn", "Co", "Cs")
    return character == _DAMAGED or not is_text or visible(character) != character
