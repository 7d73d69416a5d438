"""The format `preference`: a better and a worse reply, or several with ranks or scores.

Replies are texts, or lists of messages with or without the conversation before them (UltraFeedback), or whole dialogues
as text (HH-RLHF).
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from mothertongue.source.conversations import Conversation, Turn, Unreadable, turn_of
from mothertongue.source.files import Row
from mothertongue.source.messages import required, system_turns
from mothertongue.source.pairs import is_said, said

FIELDS = {
    "prompt": ("prompt", "question", "instruction", "query", "input"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "replies": ("replies", "completions", "responses", "answers"),
    "system": ("system", "system_prompt"),
}
_SPEAKERS = re.compile(r"\n\n(Human|Assistant):")
# Where an object of `replies` has its text, its rank (the lower, the better) and its score (the higher, the better).
_TEXT = ("response", "answer", "reply", "completion", "text", "content")
_RANK = ("rank",)
_SCORE = ("overall_score", "score", "rating")


def fits(row: Row) -> bool:
    """Return whether a row has a better and a worse reply, or ranked ones."""
    # A list of texts may be anything: it is a ranking only where the configuration names this format.
    if isinstance(replies := row.get("replies"), list):
        judged = [reply for reply in replies if isinstance(reply, dict)]
        return is_said(row.get("prompt")) and any(_number(reply, _RANK + _SCORE) is not None for reply in judged)
    return is_said(row.get("chosen")) and is_said(row.get("rejected"))


def conversation(row: Row) -> Conversation:
    """Return the conversation of a row, with a branch for each reply. Raise Unreadable where it is none."""
    system = system_turns(row.get("system"))
    if "chosen" not in row and "rejected" not in row:
        required(row, "replies")
    if row.get("replies") is not None:
        prompt = _dialogue(row.get("prompt")) or said("user", row.get("prompt"))
        texts, ranks = _ranked(row["replies"])
        return Conversation([[*system, *prompt, turn_of("assistant", text)] for text in texts], ranks)
    branches = [[*system, *_branch(row.get("prompt"), row.get(name))] for name in ("chosen", "rejected")]
    return Conversation(branches, (0, 1))


def _branch(prompt: Any, reply: Any) -> list[Turn]:
    """Return the turns that end with a reply, which may have the conversation before it."""
    turns = _dialogue(reply) or said("assistant", reply)
    if not prompt or turns[0].role != "assistant":
        return turns
    return [*(_dialogue(prompt) or said("user", prompt)), *turns]


def _dialogue(text: Any) -> list[Turn]:
    """Return the turns of a dialogue in one text, which begins with Human or Assistant; none of other text.

    The last turn is left out where nothing follows the speaker's name: a reply stands elsewhere.
    """
    whole = "\n\n" + text.lstrip() if isinstance(text, str) else ""
    if not _SPEAKERS.match(whole):
        return []
    _, *parts = _SPEAKERS.split(whole)
    turns = [turn_of(name, words.strip()) for name, words in zip(parts[::2], parts[1::2], strict=True)]
    return turns if turns[-1].text else turns[:-1]


def _ranked(replies: Any) -> tuple[list[str], list[int | None]]:
    """Return the texts of replies, the best first, and their ranks; equal scores have equal ranks."""
    if not isinstance(replies, list) or not replies:
        raise Unreadable("replies are no list")
    found: list[tuple[Any, float | None]] = []
    for number, reply in enumerate(replies):
        if isinstance(reply, dict):
            rank, score = _number(reply, _RANK), _number(reply, _SCORE)
            place = rank if rank is not None else -score if score is not None else None
            found.append((next((reply[key] for key in _TEXT if key in reply), None), place))
        else:
            found.append((reply, float(number)))
    places = sorted({place for _, place in found if place is not None})
    found.sort(key=lambda one: math.inf if one[1] is None else one[1])
    return [text for text, _ in found], [None if place is None else places.index(place) for _, place in found]


def _number(reply: Row, keys: Sequence[str]) -> float | None:
    """Return the first of these values that is a number, or text of one."""
    for key in keys:
        try:
            value = float(reply[key])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value):
            return value
    return None
