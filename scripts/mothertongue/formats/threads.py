"""Read the threads file: one conversation per line, as roles and contents, and as text in a chat template."""

from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_jsonl
from mothertongue.common.errors import UserError
from mothertongue.formats.turns import EXPECTED, are_turns

Row = dict[str, Any]


def read_threads(path: Path, named: bool = False) -> list[Row]:
    """Read a threads file; with `named`, require the ids of scripts/threads.py and an exchange at the start.

    Raise UserError naming the line without a valid thread.
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
