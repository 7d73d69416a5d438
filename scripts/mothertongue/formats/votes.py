"""Votes of people on two answers to the same question: the adapter's, and its base model's.

The file has one JSON object per line, the fields of `Vote` by name; scripts/serve.py appends to it:

    {"time": "2026-01-31T12:00:00Z", "messages": [{"role": "user", "content": "Hoi!"}],
     "answers": {"adapter": "Dag!", "base": "Hello!"}, "left": "base", "blind": true, "vote": "adapter",
     "adapter": "0f1e2d3c4b5a6978"}

From the second question on, each side has its own earlier answers. `messages` then has only what both sides share, the
system prompt and the user's turns, and a further key `conversations` has what each side was asked, whole:
{"adapter": [...], "base": [...]}. The last key of a vote from the page is `id`, which no other vote of the file has;
older votes have none.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.formats.turns import EXPECTED, are_turns

SIDES = ("adapter", "base")
TIE, BOTH_BAD = "tie", "both bad"
VOTES = (*SIDES, TIE, BOTH_BAD)

Turns = list[dict[str, str]]

# Characters of an id, at most.
_LONGEST_ID = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Vote:
    """A vote, and what was compared.

    `time` is in UTC (ISO 8601); `messages` is the conversation up to the question, system prompt included; `answers`
    has the text of each side; `left` is the side that was shown on the left, `blind` whether the sides' names were
    hidden until the vote; `vote` is one of VOTES; `adapter` is the beginning of the SHA-256 of the adapter's weights.
    `conversations` has the conversation of each side where their earlier answers differ, else it is None. `id` is of
    the comparison, which has one vote; None where nobody gave it one.
    """

    time: str
    messages: Turns
    answers: Mapping[str, str]
    left: str
    blind: bool
    vote: str
    adapter: str
    conversations: Mapping[str, Turns] | None = None
    id: str | None = None

    def asked(self, side: str) -> Turns:
        """Return the conversation that a side answered, its own earlier answers included."""
        return self.messages if self.conversations is None else self.conversations[side]

    def line(self) -> str:
        """Return the vote as a line of the file, without a line break."""
        row = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(row, ensure_ascii=False)


def parse_vote(row: Any) -> Vote:
    """Return the vote in a value read from JSON; keys that are not known are ignored.

    Raise ValueError with the reason where it is none.
    """
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    if _SURROGATE.search(json.dumps(row, ensure_ascii=False)):
        raise ValueError("a text has half a character (a lone surrogate)")
    if not _is_time(row.get("time")):
        raise ValueError("'time' is not a time such as 2026-01-31T12:00:00Z")
    if not _is_asked(row.get("messages")):
        raise ValueError(f"'messages' is not {EXPECTED} that ends with the user")
    answers: Any = row.get("answers")
    if not _has_sides(answers) or not all(isinstance(text, str) for text in answers.values()):
        raise ValueError("'answers' is not a text for each of adapter and base")
    if row.get("left") not in SIDES:
        raise ValueError("'left' is neither adapter nor base")
    if not isinstance(row.get("blind"), bool):
        raise ValueError("'blind' is neither true nor false")
    if row.get("vote") not in VOTES:
        raise ValueError(f"'vote' is none of {', '.join(VOTES)}")
    if not isinstance(row.get("adapter"), str):
        raise ValueError("'adapter' is not a text")
    conversations: Any = row.get("conversations")
    if conversations is not None:
        if not _has_sides(conversations) or not all(map(_is_asked, conversations.values())):
            raise ValueError("'conversations' is not a conversation for each of adapter and base")
        if any(_shared(turns) != _shared(row["messages"]) for turns in conversations.values()):
            raise ValueError("'conversations' has other questions than 'messages'")
    if not _is_id(row.get("id")):
        raise ValueError(f"'id' is not a text of 1 to {_LONGEST_ID} characters")
    names = ("time", "messages", "answers", "left", "blind", "vote", "adapter")
    return Vote(**{name: row[name] for name in names}, conversations=conversations, id=row.get("id"))


def read_votes(path: Path) -> list[Vote]:
    """Read the votes of a file, in order; a last line that a killed process left unfinished is left out, and logged.

    A last vote without its line break counts.

    Raise UserError where the file cannot be read, or with the number of a line that is no vote.
    """
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if vote_in(rest):
        lines.append(rest)
    elif rest:
        log(f"warning: {path}: the last line is unfinished, and is left out")
    votes = []
    for number, line in enumerate(lines, start=1):
        try:
            votes.append(parse_vote(json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number}: no vote ({error}); correct or remove this line") from None
    return votes


def vote_in(line: bytes) -> Vote | None:
    """Return the vote in a line; None where it has none."""
    try:
        return parse_vote(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _is_id(value: Any) -> bool:
    return value is None or (isinstance(value, str) and 0 < len(value) <= _LONGEST_ID)


def _has_sides(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(SIDES)


def _is_asked(turns: Any) -> bool:
    return are_turns(turns) and bool(turns) and turns[-1]["role"] == "user"


def _shared(turns: Turns) -> Turns:
    """Return what both sides have of a conversation whose answers differ."""
    return [turn for turn in turns if turn["role"] != "assistant"]


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
