"""The format `pairs`: a question and its answer in two columns, by one of the usual names."""

from typing import Any

from mothertongue.source.conversations import Conversation, Turn, joined, turn_of
from mothertongue.source.files import Row
from mothertongue.source.messages import is_chat, required, system_turns, turns_of

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
    asked, context = required(row, "prompt"), row.get("context")
    prompt = said("user", asked) if not context or is_chat(asked) else [joined(asked, context)]
    if context and is_chat(asked):
        prompt.append(joined(context))
    return Conversation([[*system_turns(row.get("system")), *prompt, *said("assistant", required(row, "reply"))]])


def is_said(value: Any) -> bool:
    """Return whether a value is text or a list of messages."""
    return isinstance(value, str) or is_chat(value)


def said(role: str, value: Any) -> list[Turn]:
    """Return a value as turns: a text as one of this role, a list as messages."""
    return turns_of(value) if is_chat(value) else [turn_of(role, value)]
