"""The format `pairs`: a question and its answer in two columns, by one of the usual names."""

from typing import Any

from mothertongue.source.conversations import Conversation, Turn, turn_of
from mothertongue.source.files import Row
from mothertongue.source.messages import is_chat, system_turns, turns_of

FIELDS = {
    "prompt": ("prompt", "question", "query", "instruction", "input"),
    "reply": ("completion", "response", "answer", "reply", "output"),
    "context": ("context",),
    "system": ("system", "system_prompt"),
}


def fits(row: Row) -> bool:
    """Return whether a row has both, as text or as lists of messages."""
    return is_said(row.get("prompt")) and is_said(row.get("reply"))


def conversation(row: Row) -> Conversation:
    """Return the conversation of a row; a context stands below the question. Raise Unreadable where it is none."""
    prompt = said("user", row.get("prompt"))
    if row.get("context"):
        prompt += said("user", row["context"])
        prompt = [Turn("user", "\n\n".join(turn.text for turn in prompt))] if len(prompt) == 2 else prompt
    return Conversation([[*system_turns(row.get("system")), *prompt, *said("assistant", row.get("reply"))]])


def is_said(value: Any) -> bool:
    """Return whether a value is text or a list of messages."""
    return isinstance(value, str) or is_chat(value)


def said(role: str, value: Any) -> list[Turn]:
    """Return a value as turns: a text as one of this role, a list as messages."""
    return turns_of(value) if is_chat(value) else [turn_of(role, value)]
