"""The file that votes are appended to."""

import errno
import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

from mothertongue.common.atomic_files import flock, sha256
from mothertongue.common.errors import UserError
from mothertongue.formats.votes import Vote, vote_in
from mothertongue.model_folders.reading import ADAPTER_WEIGHTS

# Characters of an adapter's digest.
_DIGEST = 16
# Bytes that are read at once in search of the last whole line.
_BLOCK = 65_536
# How a line of a vote begins.
_BEGINNING = b'{"time": '
# Seconds until another process has written its line.
_MOMENT = 0.01


def digest(adapter: Path) -> str:
    """Return what identifies an adapter's weights: the beginning of their SHA-256."""
    return sha256(adapter / ADAPTER_WEIGHTS)[:_DIGEST]


class VoteFile:
    """A file that votes are appended to. A vote with the id of one in the file was sent again, and is not written.

    Several processes may append to one file. The ids are read once, and then those of other processes, as they come.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        # By id: what the vote is, and a digest of what it is about.
        self._kept: dict[str, tuple[str, bytes]] = {}
        # The file whose ids these are (device and number), up to a byte.
        self._file: tuple[int, int] | None = None
        self._read = 0

    def append(self, vote: Vote) -> bool:
        """Append a vote as one line that is on the disk when this returns; return False where the file has it already.

        A line that a killed process left unfinished is removed first, and a vote without a line break is ended; where
        the disk is full, nothing of the new one stays. Raise AnotherVote where the file has another one of the same id,
        and UserError where the file cannot be written, or ends with something else than a vote: it is then unchanged.
        """
        try:
            with self._lock:
                handle = _open(self._path)
                try:
                    return self._append(handle, vote)
                finally:
                    os.close(handle)
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from None

    def _append(self, handle: int, vote: Vote) -> bool:
        line, end = vote.line().encode() + b"\n", _end(handle)
        if rest := _rest(handle, end):
            line, end = b"\n" + line, end + rest
        if vote.id is not None:
            self._read_ids(handle, end)
            if (kept := self._kept.get(vote.id)) is not None:
                if kept == _content(vote):
                    return False
                raise AnotherVote(kept[0])
        os.ftruncate(handle, end)
        try:
            if os.write(handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, end)
            raise
        return True

    def _read_ids(self, handle: int, end: int) -> None:
        """Read the ids that have come since the last time, or all where the file is another one, or shorter."""
        status = os.fstat(handle)
        if (file := (status.st_dev, status.st_ino)) != self._file or end < self._read:
            self._kept, self._file, self._read = {}, file, 0
        with os.fdopen(handle, "rb", closefd=False) as lines:
            lines.seek(self._read)
            while self._read < end and (line := lines.readline()):
                self._read += len(line)
                if (vote := vote_in(line)) and vote.id is not None:
                    self._kept.setdefault(vote.id, _content(vote))


class AnotherVote(UserError):
    """A comparison has another vote already, `vote`, which stays."""

    def __init__(self, vote: str) -> None:
        super().__init__(f"this comparison has another vote already, '{vote}', which stays")
        self.vote = vote


def _content(vote: Vote) -> tuple[str, bytes]:
    """Return a vote, and a digest of what was sent: when it arrived, and at which adapter, is not part of it."""
    sent = json.dumps(asdict(replace(vote, time="", adapter="")), sort_keys=True)
    return vote.vote, hashlib.sha256(sent.encode()).digest()


def _open(path: Path) -> int:
    """Open a file to read and append, locked against other processes while it is open. Raise OSError where it fails."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        while not flock(handle, fcntl.LOCK_EX):
            time.sleep(_MOMENT)
    except OSError:
        os.close(handle)
        raise
    return handle


def _rest(handle: int, end: int) -> int:
    """Return the length of what follows the whole lines where it is a vote; 0 where it is the beginning of one.

    Raise OSError where it is neither: the file is not one of votes.
    """
    begun = os.pread(handle, len(_BEGINNING), end)
    if not _BEGINNING.startswith(begun):
        raise OSError(errno.EINVAL, "its last line is no vote; name another file")
    rest = os.pread(handle, os.fstat(handle).st_size - end, end)
    return len(rest) if vote_in(rest) else 0


def _end(handle: int) -> int:
    """Return the length of the whole lines of a file in bytes."""
    end = os.fstat(handle).st_size
    while end:
        start = max(0, end - _BLOCK)
        at = os.pread(handle, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
