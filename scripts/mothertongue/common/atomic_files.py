"""Files and folders that appear whole or not at all, and text that is read with or without a byte order mark."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mothertongue.common.errors import OwnError, UserError

_SAID: dict[type, str] = {str: "a text", list: "a list"}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A disk with no more bytes than these is full for all but the smallest files.
_ROOM = 2**20
# What a file system without locks answers; NFS answers EBADF where a file is not open to be written.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
# The paths that this process alone writes until it ends, and the handles of their locks.
_held: dict[Path, int] = {}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` when the block ends well and is removed when it does not.

    Raises UserError where another living process is writing the same file, and where there is no space left for it.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder is there, where a file is to be written")
    with alone(path), _new_partial(path) as partial:
        with _writable(path):
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
        with _room(path):
            yield partial
            partial.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill; it replaces `path` when the block ends well and is removed when it does not.

    Raises UserError where another living process is writing the same folder, and where there is no space left for it.
    """
    if path.is_file():
        raise UserError(f"{path}: a file is there, where a folder is to be written")
    with alone(path), _new_partial(path) as partial:
        with _writable(path):
            partial.mkdir()
        with _room(path):
            yield partial
            remove(path)
            partial.replace(path)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that is removed when the block ends; what a killed run has left there is removed first.

    Raises UserError where another living process uses it, and where there is no space left for it.
    """
    with alone(path):
        with _writable(path):
            refuse_link(path)
            remove(path)
            path.mkdir()
        try:
            with _room(path):
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that writes `path`. Raises UserError where another living one does."""
    handle = _lock_or_refuse(path)
    try:
        yield
    finally:
        with suppress(OSError):
            _lock_of(path).unlink(missing_ok=True)
        os.close(handle)


def hold(path: Path) -> None:
    """Be the only process that writes `path`, until this one ends. Raises UserError where another living one does."""
    if path not in _held:
        _held[path] = _lock_or_refuse(path)


def release(path: Path) -> None:
    """Let others write what this process has held."""
    _lock_of(path).unlink(missing_ok=True)
    os.close(_held.pop(path))


def lock(path: Path) -> int | None:
    """Lock a file, which is made where there is none: the handle that holds the lock, None where another process does.

    A process that ends, however it ends, holds no lock. Where the file system has none, nobody is kept out. Raises
    OSError where the file cannot be opened, or is a link, a pipe or a folder.
    """
    while True:
        handle = open_lock(path)
        if not flock(handle, fcntl.LOCK_EX):
            os.close(handle)
            return None
        # Else its last holder has removed it in the meantime, and another may lock a new one.
        if _is_at(path, handle):
            return handle
        os.close(handle)


def open_lock(path: Path) -> int:
    """Open a file to be locked, made where there is none; no link is followed and no pipe waited at: OSError."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    handle = None
    while handle is None:
        try:
            # To write: a network file system locks no other.
            handle = os.open(path, os.O_RDWR | flags)
        except FileNotFoundError:
            # By itself: in a sticky folder another user's may not be opened by a call that would create it.
            with suppress(FileExistsError):
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, 0o666)
        except PermissionError:
            with suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"{path.name} is not a plain file", str(path))
    return handle


def flock(handle: int, how: int) -> bool:
    """Lock an open file, shared or alone as `fcntl` names it; whether nobody is in the way.

    Where the file system has no locks nobody ever is.
    """
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder where there is one; of a link the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_link(path: Path) -> None:
    """Raise UserError where a link stands in the place of what a program of the workflow makes for itself."""
    if path.is_symlink():
        raise UserError(f"{path}: a link is there, and what it leads to would be overwritten; remove the link")


def is_full(error: Exception, folder: Path) -> bool:
    """Whether an error is one of a disk without space. Libraries say it in words of their own, or fail without any."""
    if number := getattr(error, "errno", None):
        return number in _FULL
    if any(os.strerror(number) in str(error) for number in _FULL):
        return True
    return isinstance(error, OSError | RuntimeError) and shutil.disk_usage(folder).free <= _ROOM


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError where it does not exist or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises UserError where it holds something else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object ({{...}}); it is damaged, or not the file that its name says")
    return content


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_jsonl(path: Path, **keys: type) -> list[dict[str, Any]]:
    """Read one JSON object a line, each with these keys and the types of their values.

    Raises UserError where there is no file, or naming the line that is something else.
    """
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for line in file:
                rows.append(json.loads(line))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: line {len(rows) + 1}: not JSON ({error})") from None
    for number, row in enumerate(rows, start=1):
        for key, kind in keys.items():
            if not isinstance(row, dict) or not isinstance(row.get(key), kind):
                raise UserError(f"{path}: line {number}: expected an object with '{key}', {_SAID[kind]}")
    return rows


def read_lines(path: Path) -> list[str]:
    """The lines of a text; the last is empty where it ends with a newline. Raises UserError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start:,})") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below `folder`, by its relative path, in order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def check_folder(folder: Path) -> None:
    """Raise UserError where a folder is not there: libraries would take its path for a name on the hub."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")


def copy_files(source: Path, patterns: Iterable[str], target: Path) -> None:
    """Copy what matches in one folder into another, readable as new files are."""
    for path in (path for pattern in patterns for path in sorted(source.glob(pattern))):
        shutil.copyfile(path, target / path.name)


@contextmanager
def _new_partial(path: Path) -> Iterator[Path]:
    """A hidden neighbour of `path`, cleared of what an earlier, killed run left, and removed when the block ends.

    It is for whoever holds `path` alone. The block makes it: a link that somebody put there is refused, not followed.
    """
    partial = path.with_name(f".{path.name}.partial")
    refuse_link(partial)
    with _writable(path):
        remove(partial)
    try:
        yield partial
    finally:
        with suppress(OSError):
            remove(partial)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Raise UserError where the block cannot make `path`: no permission, no space, a file in the way."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Raise UserError where there is no space left for what the block writes."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_full(error, path.parent):
            raise
        raise OwnError(f"{path}: no space left for it ({error}); make room, and run the same command again") from None


def _lock_of(path: Path) -> Path:
    """The hidden neighbour of `path` whose lock says that a process writes `path`."""
    return path.with_name(f".{path.name}.lock")


def _lock_or_refuse(path: Path) -> int:
    """The handle that holds the lock of `path`: a process that outlived its Snakemake may still be writing it."""
    refuse_link(_lock_of(path))
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = lock(_lock_of(path))
    if handle is None:
        raise UserError(f"{path}: another process is writing it; wait for it or stop it")
    return handle


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
