"""Files of prompts, and of prompts with answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_lines, write_jsonl
from mothertongue.common.errors import UserError
from mothertongue.formats.turns import EXPECTED, are_turns


def read(path: Path) -> list[dict[str, Any]]:
    """Read the prompts of a file, in order: each has `prompt` (a question) or `messages` (up to a question).

    A .jsonl file has an object with one of these keys per line; other keys are kept beside the answer. Any other file
    is text, with one prompt per line. Empty lines are skipped. Raise UserError with the number of an invalid line, and
    where there are no prompts.
    """
    lines = read_lines(path)
    parse = _parse if path.suffix == ".jsonl" else lambda line: {"prompt": line.strip()}
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(parse(line))
        except ValueError as error:
            raise UserError(f"{path}: line {number}: {error}") from None
    if not rows:
        raise UserError(f"{path}: no prompts in it")
    return rows


def conversations(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, str]]]:
    """Return the messages of each prompt."""
    return [row["messages"] if "messages" in row else [{"role": "user", "content": row["prompt"]}] for row in rows]


def with_answers(rows: Sequence[dict[str, Any]], answers: Sequence[tuple[str, bool]]) -> list[dict[str, Any]]:
    """Add to each prompt its `answer`, and `ended`: whether the model, not the length limit, ended it."""
    return [row | {"answer": text, "ended": ended} for row, (text, ended) in zip(rows, answers, strict=True)]


def write(rows: Sequence[dict[str, Any]], path: Path | None) -> None:
    """Write one JSON object per line, atomically to a file, or to stdout where `path` is None."""
    if path is None:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        write_jsonl(path, list(rows))


def _parse(line: str) -> dict[str, Any]:
    """Parse a line of a .jsonl file. Raise ValueError with the reason where it is invalid."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(row, dict) or ("prompt" in row) == ("messages" in row):
        raise ValueError("expected an object with either 'prompt' or 'messages'")
    if "prompt" in row:
        if not isinstance(row["prompt"], str) or not row["prompt"].strip():
            raise ValueError("'prompt' is not a text, or empty")
        return row
    messages = row["messages"]
    if not are_turns(messages):
        raise ValueError(f"'messages' is not {EXPECTED}")
    if not messages or messages[-1]["role"] != "user":
        raise ValueError("the last of 'messages' is not a user's: there is nothing to answer")
    return row
