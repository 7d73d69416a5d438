"""Runs of Snakemake on one results folder: only those of one working directory at a time.

Snakemake keeps its locks and records in its working directory. A run in another one removes files that this one reads.
"""

import fcntl
import os
import stat
from pathlib import Path

from mothertongue.common.atomic_files import flock, open_lock
from mothertongue.common.errors import UserError

# A file in the results folder that all runs lock, and that contains their working directory.
_NAME = ".runs.lock"
_LONGEST = 2**16
# Handles that stay open until the process ends.
_held: list[int] = []


def join(results: Path, place: Path) -> None:
    """Lock a results folder for the runs of one working directory, until this process ends.

    Raise UserError where runs of another one hold it, or the folder is not writable.
    """
    path = results / _NAME
    mine = f"{place.resolve()} {place.stat().st_ino}\n".encode()  # machines may have different folders of one path
    try:
        results.mkdir(parents=True, exist_ok=True)
        handle = open_lock(path)
        if flock(handle, fcntl.LOCK_EX):
            _write(handle, mine, results)
        # Changing to a shared lock is not atomic: another run may have locked the file in between.
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
    """Write the working directory to the lock file, writable for everyone who can write to the folder."""
    if os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, stat.S_IMODE(results.stat().st_mode) & 0o666)
    os.ftruncate(handle, 0)
    os.pwrite(handle, content, 0)
