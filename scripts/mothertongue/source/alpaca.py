"""The format `alpaca`: an instruction, perhaps with an input, and the output."""

from mothertongue.source.conversations import Conversation, Unreadable, joined, turn_of
from mothertongue.source.files import Row
from mothertongue.source.messages import required, system_turns

FIELDS = {
    "instruction": ("instruction",),
    "input": ("input",),
    "output": ("output",),
    "history": ("history",),
    "system": ("system", "system_prompt"),
}


def fits(row: Row) -> bool:
    """Return whether a row has instruction and output as text."""
    return all(isinstance(row.get(name), str) for name in ("instruction", "output"))


def conversation(row: Row) -> Conversation:
    """Return the conversation of a row: its history of pairs, the instruction with its input below it, the output.

    Raise Unreadable where one of them is no text, and the history no list of pairs.
    """
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in history):
        raise Unreadable("history is no list of pairs of a question and its answer")
    turns = system_turns(row.get("system"))
    for question, answer in history:
        turns += [turn_of("user", question), turn_of("assistant", answer)]
    asked = joined(required(row, "instruction"), row.get("input"))
    return Conversation([[*turns, asked, turn_of("assistant", required(row, "output"))]])
