"""The answers of endpoints, kept in files: nothing is paid for twice, and what was spent is known.

A job appends a line of JSON to a file of its own for every answer, and reads those of the other jobs in the folder. So
a job that is killed loses no answer that has arrived. Deleting the files costs the answers, and forgets what was spent.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.endpoints.budget import Spent

# Seconds from one look at the files of other jobs to the next.
_INTERVAL = 5.0


@dataclass(frozen=True)
class Answer:
    """An answer of a model. `complete`: it ended by itself; `refused`: the server's filter withheld it."""

    text: str
    complete: bool = True
    refused: bool = False


def key_of(request: Mapping[str, Any]) -> str:
    """Return the key of a request: a hash of its body, in hexadecimal."""
    content = json.dumps(request, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:32]


class Answers:
    """The answers in the files of a folder; this job adds its own in `file`, or keeps none without one.

    What is held of an answer is where it stands in its file.
    """

    def __init__(self, file: Path | None) -> None:
        """Read the folder. Raise UserError where the file cannot be written."""
        self.file = file
        # Of all files, and of this job's own.
        self.spent = self.own = Spent()
        self._places: dict[str, tuple[Path, int]] = {}
        self._read: dict[Path, int] = {}
        self._own: IO[bytes] | None = None
        self._seen = 0.0
        self.refresh()

    def find(self, key: str) -> Answer | None:
        """Return the answer to a request; None where there is none, or its file has gone."""
        if key not in self._places:
            return None
        path, offset = self._places[key]
        try:
            with path.open("rb") as file:
                file.seek(offset)
                row = json.loads(file.readline())
            return Answer(row["text"], row["complete"], row["refused"])
        except (OSError, ValueError, KeyError):
            del self._places[key]
            return None

    def add(self, key: str | None, answer: Answer | None, spent: Spent) -> None:
        """Write what a request has cost, with the answer where there is a usable one."""
        self.spent += spent
        self.own += spent
        if self.file is None:
            return
        row = {"key": key, "requests": spent.requests, "input": spent.input, "output": spent.output}
        if answer:
            row |= {"text": answer.text, "complete": answer.complete, "refused": answer.refused}
        line = json.dumps(row).encode() + b"\n"
        file = self._own or self._open(self.file)
        offset = self._read[self.file]
        file.write(line)
        self._read[self.file] += len(line)
        if answer and key:
            self._places[key] = self.file, offset

    def refresh(self, now: bool = True) -> None:
        """Read what other jobs have added since the last time; without `now` once in some seconds."""
        if self.file is None or (not now and time.monotonic() - self._seen < _INTERVAL):
            return
        for path in sorted(self.file.parent.glob("*.jsonl")):
            if path != self.file or path not in self._read:
                self._scan(path)
        self._seen = time.monotonic()

    def close(self) -> None:
        """Write to the disk."""
        if self._own:
            os.fsync(self._own.fileno())
            self._own.close()
            self._own = None

    def _scan(self, path: Path) -> None:
        """Read the whole lines of a file from where the last reading ended."""
        position, damaged = self._read.get(path, 0), 0
        try:
            with path.open("rb") as file:
                file.seek(position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    row = _row(line)
                    if row is None:
                        damaged += 1
                    else:
                        spent = Spent(row["requests"], row["input"], row["output"])
                        self.spent += spent
                        self.own += spent if path == self.file else Spent()
                        if row.get("key") and "text" in row:
                            self._places[row["key"]] = path, position
                    position += len(line)
        except OSError as error:
            log(f"warning: {path}: cannot be read now ({error.strerror}); its answers are asked for again")
        if damaged:
            log(f"warning: {path}: {damaged:,} lines are no answers, and are left out")
        self._read[path] = position

    def _open(self, path: Path) -> IO[bytes]:
        """Open this job's file to append to; a line that a killed job began is ended first."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        end = file.tell()
        if end > self._read.get(path, 0):
            file.write(b"\n")
            end += 1
        self._read[path] = end
        self._own = file
        return file


def _row(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line; None where it is none that `add` writes."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not all(type(row.get(name)) is int for name in ("requests", "input", "output")):
        return None
    answered = row.get("text") is None or (
        isinstance(row["text"], str) and isinstance(row.get("complete"), bool) and isinstance(row.get("refused"), bool)
    )
    return row if answered else None
