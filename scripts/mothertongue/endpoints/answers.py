"""The answers of endpoints, kept in files: nothing is paid for twice, and what was spent is known.

A job appends a line of JSON to a file of its own for every answer, and reads those of the other jobs in the folder. So
a job that is killed loses no answer that has arrived. Deleting the files costs the answers, and forgets what was spent.
"""

import errno
import hashlib
import json
import os
import threading
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
_COUNTS = ("requests", "input", "output")
# More tokens than a request can have.
_ABSURD = 10**9


@dataclass(frozen=True)
class Answer:
    """An answer of a model. `complete`: it ended by itself; `refused`: the server's filter withheld it."""

    text: str
    complete: bool = True
    refused: bool = False


# What became of a request: the answer, or why there is none.
Outcome = Answer | str


def key_of(request: Mapping[str, Any]) -> str:
    """Return the key of a request: a hash of its body, in hexadecimal."""
    content = json.dumps(request, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:32]


class Answers:
    """The answers in the files of a folder; this job adds its own in `path`, or keeps none without one.

    `spent` is what all files have cost, `spent_here` this job's own. What is held of an answer is where it stands; of
    two answers to a request this job's own counts.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the folder. Raise UserError where a file of another name is to be written."""
        if path is not None and path.suffix != ".jsonl":
            raise UserError(f"{path}: answers are kept in files whose names end in .jsonl")
        self.path = path
        self.spent = self.spent_here = Spent()
        self._places: dict[str, tuple[Path, int]] = {}
        # The bytes of each file that have been read or written.
        self._ends: dict[Path, int] = {}
        self._file: IO[bytes] | None = None
        self._seen = 0.0
        # Answers are looked up while others arrive.
        self._alone = threading.RLock()
        if path is not None and path.exists():
            self._scan(path)
        self.refresh()

    def find(self, key: str) -> Answer | None:
        """Return the answer to a request; None where there is none, or its file has changed."""
        with self._alone:
            if key not in self._places:
                return None
            path, offset = self._places[key]
            try:
                with path.open("rb") as file:
                    file.seek(offset)
                    row = _row(file.readline())
            except OSError:
                row = None
            if row is None or row.get("key") != key or (found := _answer(row)) is None:
                del self._places[key]
                return None
            if path != self.path:
                # So a later run of this job finds the same, whatever others write.
                self.add(key, found, Spent())
            return found

    def add(self, key: str, answer: Answer | None, spent: Spent) -> None:
        """Write what a request has cost, with its answer where it has one. Raise UserError where the disk is full."""
        with self._alone:
            self.spent += spent
            self.spent_here += spent
            if self.path is None:
                return
            row: dict[str, Any] = {"key": key, "requests": spent.requests, "input": spent.input, "output": spent.output}
            if answer:
                row |= {"text": answer.text, "complete": answer.complete, "refused": answer.refused}
            line = json.dumps(row).encode() + b"\n"
            try:
                file = self._file or self._open(self.path)
                offset = self._ends[self.path]
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                # The next one ends the line that was begun.
                self._file = None
                raise UserError(f"cannot write {self.path}: {error.strerror}; make room, and run it again") from None
            self._ends[self.path] += len(line)
            if answer:
                self._places[key] = self.path, offset

    def refresh(self, at_least: float = 0.0) -> None:
        """Read what other jobs have added since the last time, where that is so many seconds ago."""
        with self._alone:
            if self.path is None or time.monotonic() - self._seen < at_least:
                return
            for path in sorted(self.path.parent.glob("*.jsonl")):
                if path != self.path:
                    self._scan(path)
            self._seen = time.monotonic()

    def refresh_soon(self) -> None:
        """Read what other jobs have added, once in some seconds."""
        self.refresh(_INTERVAL)

    def close(self) -> None:
        """Write to the disk."""
        with self._alone:
            if self._file:
                file, self._file = self._file, None
                with file:
                    os.fsync(file.fileno())

    def _scan(self, path: Path) -> None:
        """Read the whole lines of a file from where the last reading ended."""
        position, damaged = self._ends.get(path, 0), 0
        own = path == self.path
        try:
            with path.open("rb") as file:
                file.seek(position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    if row := _row(line):
                        spent = Spent(*(row[name] for name in _COUNTS))
                        self.spent += spent
                        self.spent_here += spent if own else Spent()
                        if _answer(row) is not None and (own or row["key"] not in self._places):
                            self._places[row["key"]] = path, position
                    else:
                        damaged += 1
                    position += len(line)
        except OSError as error:
            log(f"warning: {path}: cannot be read now ({error.strerror}); its answers are asked for again")
        if damaged:
            log(f"warning: {path}: {damaged:,} lines are no answers, and are left out")
        self._ends[path] = position

    def _open(self, path: Path) -> IO[bytes]:
        """Open this job's file to append to; a line that a killed job began is ended first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab", buffering=0)
        end = file.tell()
        if end > self._ends.get(path, 0):
            file.write(b"\n")
            end += 1
        self._ends[path] = end
        self._file = file
        return file


def _row(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line; None where it is none that `add` writes."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("key"), str):
        return None
    counts = [row.get(name) for name in _COUNTS]
    return row if all(type(count) is int and 0 <= count < _ABSURD for count in counts) else None


def _answer(row: Mapping[str, Any]) -> Answer | None:
    """Return the answer in a row; None where it has none."""
    text, complete, refused = (row.get(name) for name in ("text", "complete", "refused"))
    if isinstance(text, str) and isinstance(complete, bool) and isinstance(refused, bool):
        return Answer(text, complete, refused)
    return None
