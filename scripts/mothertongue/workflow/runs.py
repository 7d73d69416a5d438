"""Runs of Snakemake on one results folder: those of one working directory at a time.

Snakemake keeps its locks and its records in its working directory. One in another removes what this one is reading.
"""

import fcntl
import os
import stat
from pathlib import Path

from mothertongue.common.atomic_files import flock, open_lock
from mothertongue.common.errors import UserError

# In the results folder: its lock is held by all runs, and it names their working directory.
_NAME = ".runs.lock"
_LONGEST = 2**16
# Open for as long as the process lives.
_held: list[int] = []


def join(results: Path, place: Path) -> None:
    """Hold a results folder for the runs of one working directory, until this process ends.

    Raises UserError where runs of another one hold it, or the folder cannot be written.
    """
    path = results / _NAME
    mine = f"{place.resolve()} {place.stat().st_ino}\n".encode()  # machines may have other folders of one path
    try:
        results.mkdir(parents=True, exist_ok=True)
        handle = open_lock(path)
        if flock(handle, fcntl.LOCK_EX):
            _write(handle, mine, results)
        # Going over to this lock is not one step: another may have come first.
        shared = flock(handle, fcntl.LOCK_SH)
        found = os.pread(handle, _LONGEST, 0)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; runs on one results folder find each other there") from None
    if not shared or found != mine:
        os.close(handle)
        other = found.decode(errors="replace").rpartition(" ")[0] or "another folder"
        raise UserError(f"{results}: a run in {other} is writing there; wait for it, or set results to another folder")
    _held.append(handle)


def _write(handle: int, content: bytes, results: Path) -> None:
    """Write who runs, in a file that whoever may write to the folder can write to."""
    if os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, stat.S_IMODE(results.stat().st_mode) & 0o666)
    os.ftruncate(handle, 0)
    os.pwrite(handle, content, 0)
