"""Read the preferences file: per line a prompt with a chosen and a rejected reply, as roles and contents."""

from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_jsonl
from mothertongue.common.errors import UserError
from mothertongue.formats.turns import EXPECTED, are_turns

Row = dict[str, Any]


def read_preferences(path: Path) -> list[Row]:
    """Read a preferences file. Raise UserError naming the line without a valid preference."""
    rows = read_jsonl(path)
    for number, row in enumerate(rows, start=1):
        for part, last in (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant")):
            turns = row.get(part) if isinstance(row, dict) else None
            if not are_turns(turns) or not turns or turns[-1]["role"] != last:
                raise UserError(f"{path}: line {number}: '{part}' is not {EXPECTED} that ends with the {last}")
    return rows
