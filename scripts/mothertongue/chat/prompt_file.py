"""Prompts in a file: what is asked, and the answers beside it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_lines, write_jsonl
from mothertongue.common.errors import UserError
from mothertongue.formats.turns import EXPECTED, are_turns


def read(path: Path) -> list[dict[str, Any]]:
    """The prompts of a file, in order: each with `prompt` (a question) or `messages` (a conversation up to a question).

    A .jsonl file has one or the other a line, and whatever else is to stand beside the answer; any other file is text,
    one prompt a line. Empty lines are skipped. Raises UserError naming the line that is no prompt, and for no prompts.
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
    """The messages of each prompt."""
    return [row["messages"] if "messages" in row else [{"role": "user", "content": row["prompt"]}] for row in rows]


def with_answers(rows: Sequence[dict[str, Any]], answers: Sequence[tuple[str, bool]]) -> list[dict[str, Any]]:
    """Each prompt with its `answer`, and `ended`: whether the model ended it by itself, not the limit of its length."""
    return [row | {"answer": text, "ended": ended} for row, (text, ended) in zip(rows, answers, strict=True)]


def write(rows: Sequence[dict[str, Any]], path: Path | None) -> None:
    """Write one JSON object a line, to a file, whole or not at all; `path` None for stdout."""
    if path is None:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        write_jsonl(path, list(rows))


def _parse(line: str) -> dict[str, Any]:
    """One line of a .jsonl file. Raises ValueError with what is wrong."""
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
