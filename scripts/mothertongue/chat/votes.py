"""The file that votes are appended to."""

import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from mothertongue.common.atomic_files import flock, sha256
from mothertongue.common.errors import UserError
from mothertongue.formats.votes import Vote, is_vote
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


def append(path: Path, vote: Vote) -> None:
    """Append a vote as one line that is on the disk when this returns.

    A line that a killed process left unfinished is removed first, and a vote without a line break is ended; where the
    disk is full, nothing of the new one stays. Several processes may append to one file. Raise UserError where the file
    cannot be written, or ends with something else than a vote: it is then unchanged.
    """
    line = vote.line().encode() + b"\n"
    try:
        handle = _open(path)
        try:
            end = _end(handle)
            if rest := _rest(handle, end):
                line, end = b"\n" + line, end + rest
            os.ftruncate(handle, end)
            try:
                if os.write(handle, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


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
    return len(rest) if is_vote(rest) else 0


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
