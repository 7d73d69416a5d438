"""The threads file: one conversation a line, as roles and contents and as text in a chat template."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mothertongue.errors import UserError
from mothertongue.files import read_jsonl
from mothertongue.prompts import InexactTemplate, Template, render
from mothertongue.trees import Message
from mothertongue.turns import EXPECTED, are_turns

Row = dict[str, Any]


def as_rows(threads: list[list[Message]], lang: str, system_prompt: str, template: Template) -> Iterator[Row]:
    """The lines of the file. A thread is named after its last message, which no other thread ends with.

    Raises UserError naming the thread whose assistant's words the template does not tell exactly.
    """
    for thread in threads:
        messages: list[Row] = [message.turn | {"message_id": message.id} for message in thread]
        if system_prompt:
            messages.insert(0, {"role": "system", "content": system_prompt, "message_id": None})
        try:
            text = render(messages, template)
        except InexactTemplate as error:
            raise UserError(f"thread {thread[-1].id}: {error}") from None
        yield {
            "thread_id": thread[-1].id,
            "message_tree_id": thread[0].tree,
            "lang": lang,
            "messages": messages,
            "text": text,
        }


def read_threads(path: Path, named: bool = False) -> list[Row]:
    """Read a threads file; `named`: whether its threads must have the ids of scripts/threads.py, and an exchange first.

    Raises UserError naming the line that is no such thread.
    """
    rows = read_jsonl(path)
    for number, row in enumerate(rows, start=1):
        messages = row.get("messages") if isinstance(row, dict) else None
        if not are_turns(messages):
            raise UserError(f"{path}: line {number}: 'messages' is not {EXPECTED}")
        if named and not _is_named(row):
            raise UserError(
                f"{path}: line {number}: not a thread of scripts/threads.py, which has a thread_id, a message_id for "
                "each message, a user's message first and the assistant's answer to it"
            )
    return rows


def _is_named(row: Row) -> bool:
    turns = [turn for turn in row["messages"] if turn["role"] != "system"]
    ids = [row.get("thread_id"), *(turn.get("message_id") for turn in turns)]
    return all(isinstance(id_, str) for id_ in ids) and [turn["role"] for turn in turns[:2]] == ["user", "assistant"]
