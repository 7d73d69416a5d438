"""Conversations of any dataset, made into messages of OASST: trees of one branch, or with ranked replies."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mothertongue.source.files import Row

_ROLES = {"system": "system", "user": "prompter", "assistant": "assistant"}
# Other names of the roles, in small letters.
_NAMES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_call", "tool_call", "ipython"), "tools"),
}
# What parts of a message's content may be besides text.
_MEDIA = ("image", "audio", "video", "file", "tool")
# Why a turn, and all that follows it, is left out; and why one is that stands alone.
TOOLS, EMPTY, LATE_SYSTEM, UNANSWERED = "tools", "empty", "system message within a conversation", "without an answer"
ASSISTANT_FIRST, SHARED, MERGED = "assistant before a user", "shared with another reply", "joined to the turn before"
WORSE = "ranked below a reply that is left out"


class Unreadable(Exception):
    """A row that is not of its format; the message says why, without file and row."""


@dataclass(frozen=True)
class Turn:
    """What one of `system`, `user` or `assistant` says; `unusable` is why it is not text alone, empty where it is."""

    role: str
    text: str
    unusable: str = ""


@dataclass(frozen=True)
class Conversation:
    """A row: the branches of a conversation, the best first, with their ranks (0 is the best) where there are several.

    Branches share the turns with which they begin. `id` and `lang` are the row's own, empty where it has none.
    """

    branches: Sequence[Sequence[Turn]]
    ranks: Sequence[int | None] = (None,)
    id: str = ""
    lang: str = ""


@dataclass(frozen=True)
class Tree:
    """The messages that became of a conversation, as rows of OASST: each after its parent.

    `turns` is the number of turns that it had, `left_out` counts those that are no message by reason, and `reason` is
    why there is no message, empty where there is one.
    """

    messages: list[Row]
    turns: int
    left_out: Counter[str]
    reason: str


@dataclass
class Account:
    """What became of rows and turns: rows = conversations + left out, turns = messages + left out or joined.

    The turns of rows that are not of the format are not known, and not counted.
    """

    rows: int = 0
    conversations: int = 0
    rows_left_out: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    messages: int = 0
    turns_left_out: Counter[str] = field(default_factory=Counter)

    def add(self, tree: Tree) -> None:
        """Add what became of a row."""
        self.rows += 1
        self.turns += tree.turns
        self.turns_left_out += tree.left_out
        self.messages += len(tree.messages)
        if tree.messages:
            self.conversations += 1
        else:
            self.rows_left_out[tree.reason] += 1

    def leave_out(self, reason: str, turns: int = 0) -> None:
        """Add a row that is left out with all its turns."""
        self.add(Tree([], turns, Counter({reason: turns} if turns else {}), reason))

    def as_json(self) -> dict[str, Any]:
        """Return the account with reasons in the order of their counts."""
        return {
            "rows": self.rows,
            "conversations": self.conversations,
            "rows_left_out": dict(self.rows_left_out.most_common()),
            "turns": self.turns,
            "messages": self.messages,
            "turns_left_out": dict(self.turns_left_out.most_common()),
        }


def is_missing(value: Any) -> bool:
    """Return whether a value is null: None, or the NaN that pandas writes for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def role_of(name: Any) -> str:
    """Return the role of a turn by its name: system, user, assistant or tools. Raise Unreadable for others."""
    known = _NAMES.get(name.strip().lower()) if isinstance(name, str) else None
    if known is None:
        raise Unreadable(f"unknown role {shown(name)} (expected system, user or assistant)")
    return known


def turn_of(role: Any, content: Any, calls: Any = None) -> Turn:
    """Return a turn from a role's name, a content (text, a list of parts, or null) and what it calls of tools.

    Raise Unreadable where these are something else.
    """
    known = role_of(role)
    text, unusable = text_of(content)
    if known == "tools" or _calls_something(calls):
        return Turn("assistant", text, TOOLS)
    return Turn(known, text, unusable)


def _calls_something(calls: Any) -> bool:
    """Return whether a message's calls of tools are more than nulls, which tables have for none."""
    if isinstance(calls, dict):
        return any(map(_calls_something, calls.values()))
    return not is_missing(calls) and calls not in ("", [], False)


def text_of(content: Any) -> tuple[str, str]:
    """Return the text of a message's content, and what else is in it: images, audio, tools; empty for nothing else."""
    if is_missing(content):
        return "", ""
    if isinstance(content, str):
        return checked_text(content), ""
    if not isinstance(content, list):
        raise Unreadable(f"expected text or a list of parts, found {shown(content)}")
    texts, other = [], ""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else "text"
        text = part.get("text") if isinstance(part, dict) else part
        if kind in ("text", "input_text", "output_text") and isinstance(text, str):
            texts.append(checked_text(text))
        elif isinstance(kind, str) and (media := next((name for name in _MEDIA if name in kind), None)):
            other = {"image": "images", "tool": TOOLS}.get(media, media)
        else:
            raise Unreadable(f"a part that is neither text nor an image or sound: {shown(part)}")
    return "\n".join(texts), other


def joined(*contents: Any) -> Turn:
    """Return a user's turn of several contents, with a blank line between those that have text."""
    found = [text_of(content) for content in contents]
    texts = [text for text, _ in found if text.strip()]
    return Turn("user", "\n\n".join(texts), next((unusable for _, unusable in found if unusable), ""))


def shown(value: Any) -> str:
    """Return a value as JSON for a message, its first characters."""
    return json.dumps(value, default=str)[:60]


def checked_text(text: str) -> str:
    """Return a text. Raise Unreadable where it has half of a surrogate pair, which is not a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])[1:-1]
        raise Unreadable(f"half of a surrogate pair ({half}), which is not a character") from None
    return text


def tree_of(conversation: Conversation) -> Tree:
    """Return the messages of a conversation; its id is its own, or a hash of its content.

    What a chat template could not render, or a translation not carry, is left out: a branch ends before its first turn
    with tools, images or sound, without text, or of the system after the first; an assistant that speaks before a user
    is left out, and so is a user without an answer. Turns of the same role in a row become one, with a blank line
    between them. Where a reply is left out, so are those that are ranked below it: a worse reply would take its place.
    There is no message where no answer is left.
    """
    left_out: Counter[str] = Counter()
    kept: list[tuple[Sequence[Turn], int | None]] = []
    lost: list[int] = []  # ranks of the branches that have lost their end
    for branch, rank in zip(conversation.branches, conversation.ranks, strict=True):
        if any(rank is None or better < rank for better in lost):
            left_out[WORSE] += len(branch)
            continue
        usable, whole = _usable(branch, left_out)
        if usable:
            kept.append((usable, rank))
        if not whole and rank is not None:
            lost.append(rank)
    messages = _messages(kept, conversation, left_out)
    others = [reason for reason in left_out if reason not in (MERGED, UNANSWERED, WORSE)]
    reason = "" if messages else others[0] if others else UNANSWERED if left_out else EMPTY
    return Tree(messages, sum(map(len, conversation.branches)), left_out, reason)


def _usable(turns: Sequence[Turn], left_out: Counter[str]) -> tuple[list[Turn], bool]:
    """Return the turns that training can read, to the last answer, and whether none is lost after it.

    Add those left out to `left_out`, by reason.
    """
    kept: list[Turn] = []
    rest = len(turns)
    for turn in turns:
        if reason := _objection(turn, kept):
            break
        rest -= 1
        if kept and kept[-1].role == turn.role:
            kept[-1] = Turn(turn.role, f"{kept[-1].text}\n\n{turn.text}")
            left_out[MERGED] += 1
        elif turn.role == "assistant" and not any(before.role == "user" for before in kept):
            left_out[ASSISTANT_FIRST] += 1
        elif turn.role == "system" and not turn.text.strip():
            left_out[EMPTY] += 1
        else:
            kept.append(turn)
    left_out.update({reason: rest} if rest else {})
    end = max((at for at, turn in enumerate(kept, start=1) if turn.role == "assistant"), default=0)
    left_out.update({UNANSWERED: len(kept) - end} if end < len(kept) else {})
    return kept[:end], not rest and end == len(kept)


def _objection(turn: Turn, before: Sequence[Turn]) -> str:
    """Return why a branch ends before a turn; empty where it goes on."""
    if turn.unusable:
        return turn.unusable
    if turn.role == "system":
        return LATE_SYSTEM if any(earlier.role != "system" for earlier in before) else ""
    return "" if turn.text.strip() else EMPTY


def _messages(
    branches: Iterable[tuple[Sequence[Turn], int | None]],
    conversation: Conversation,
    left_out: Counter[str],
) -> list[Row]:
    """Return the messages of branches as rows: turns that several begin with are one message."""
    branches = list(branches)
    content = json.dumps([[[turn.role, turn.text] for turn in branch] for branch, _ in branches], ensure_ascii=False)
    tree = conversation.id or hashlib.sha256(content.encode()).hexdigest()[:32]
    found: dict[tuple[str | None, str, str], Row] = {}
    children: dict[str | None, list[tuple[Row, int | None]]] = defaultdict(list)
    for branch, rank in branches:
        parent: str | None = None
        for turn in branch:
            key = (parent, turn.role, turn.text)
            if key in found:
                left_out[SHARED] += 1
            else:
                found[key] = {
                    "message_id": f"{tree}-{len(found)}",
                    "parent_id": parent,
                    "text": turn.text,
                    "role": _ROLES[turn.role],
                    "lang": conversation.lang,
                    "message_tree_id": tree,
                }
                children[parent].append((found[key], rank))
            parent = found[key]["message_id"]
    for siblings in children.values():
        for row, rank in siblings:
            row["rank"] = rank if len(siblings) > 1 else None
    return list(found.values())
