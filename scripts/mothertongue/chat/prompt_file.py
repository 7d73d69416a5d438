"""Files of prompts, and of prompts with answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_lines, write_jsonl
from mothertongue.common.errors import UserError
from mothertongue.formats.turns import EXPECTED, are_turns


@dataclass(frozen=True)
class Reply:
    """An answer: its text, and whether the model, not the length limit, ended it; or why there is no text."""

    text: str | None
    ended: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Prompt:
    """A prompt of a file: its line, from 1, and its fields, with `prompt` (a question) or `messages` (up to one)."""

    line: int
    row: Mapping[str, Any]

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation to go on with, roles and contents alone; empty for an empty line."""
        if "messages" in self.row:
            return [{name: turn[name] for name in ("role", "content")} for turn in self.row["messages"]]
        return [{"role": "user", "content": self.row["prompt"]}] if self.row["prompt"] else []

    def with_answer(self, reply: Reply) -> dict[str, Any]:
        """Return the fields with `answer`, `ended`, and `error` where there is no answer."""
        error = {} if reply.error is None else {"error": reply.error}
        row = {name: value for name, value in self.row.items() if name != "error"}  # of an earlier try
        return {**row, "answer": reply.text, "ended": reply.ended, **error}


def read(path: Path) -> list[Prompt]:
    """Read the prompts of a file, in order.

    A .jsonl file has an object with `prompt` or `messages` per line; other keys are kept beside the answer, and empty
    lines skipped. Any other file is text, with one prompt per line, also for empty lines before the last prompt: line
    and answer stay beside each other. Raise UserError with the number of an invalid line, and where there are no
    prompts.
    """
    lines = read_lines(path)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{path}: no prompts in it")
    if path.suffix != ".jsonl":
        return [Prompt(number, {"prompt": line.strip()}) for number, line in enumerate(lines, start=1)]
    prompts = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                prompts.append(Prompt(number, _parse(line)))
            except ValueError as error:
                raise UserError(f"{path}: line {number}: {error}") from None
    return prompts


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
