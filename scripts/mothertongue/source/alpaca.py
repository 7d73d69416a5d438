"""The format `alpaca`: an instruction, perhaps with an input, and the output."""

from mothertongue.source.conversations import Conversation, Unreadable, text_of, turn_of
from mothertongue.source.files import Row
from mothertongue.source.messages import system_turns

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
    said = [text_of(row.get(name))[0] for name in ("instruction", "input")]
    turns = system_turns(row.get("system"))
    for question, answer in [*history, ("\n\n".join(text for text in said if text.strip()), row.get("output"))]:
        turns += [turn_of("user", question), turn_of("assistant", answer)]
    return Conversation([turns])
