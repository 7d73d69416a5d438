"""Atomic writing of files and folders, locks, and reading of text with or without a byte order mark."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from mothertongue.common.errors import OwnError, UserError

_SAID: dict[type, str] = {str: "a text", list: "a list"}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A disk with at most this many free bytes counts as full.
_ROOM = 2**20
# Errors of file systems without locks; NFS returns EBADF for files that are not open for writing.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
# The paths that this process has locked until it ends, with the handles of their locks.
_held: dict[Path, int] = {}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a partial path to write to; rename it to `path` when the block succeeds, remove it when it fails.

    Raise UserError where another running process writes the same file, and where the disk is full.
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
    """Yield a new folder to fill; replace `path` by it when the block succeeds, remove it when it fails.

    Raise UserError where another running process writes the same folder, and where the disk is full.
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
    """Yield a new folder that is removed when the block ends; first remove what a killed run left there.

    Raise UserError where another running process uses it, and where the disk is full.
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


def scratch_beside(path: Path) -> AbstractContextManager[Path]:
    """Yield a new hidden folder beside a file that is to be written; see `scratch_folder`."""
    return scratch_folder(path.with_name(f".{path.name}.scratch"))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Lock `path` against other processes for the block. Raise UserError where another running process writes it."""
    handle = _lock_or_refuse(path)
    try:
        yield
    finally:
        with suppress(OSError):
            _lock_of(path).unlink(missing_ok=True)
        os.close(handle)


def hold(path: Path) -> None:
    """Lock `path` until this process ends. Raise UserError where another running process writes it."""
    if path not in _held:
        _held[path] = _lock_or_refuse(path)


def release(path: Path) -> None:
    """Unlock a path that `hold` locked."""
    _lock_of(path).unlink(missing_ok=True)
    os.close(_held.pop(path))


def lock(path: Path) -> int | None:
    """Lock a file, created if missing; return the handle that holds the lock, None where another process holds it.

    The lock ends with the process, however that ends. File systems without locks exclude no process. Raise OSError
    where the file cannot be opened, or is a link, a pipe or a folder.
    """
    while True:
        handle = open_lock(path)
        if not flock(handle, fcntl.LOCK_EX):
            os.close(handle)
            return None
        # The last holder may have removed the file in the meantime, and another process may lock a new one.
        if _is_at(path, handle):
            return handle
        os.close(handle)


def open_lock(path: Path) -> int:
    """Open a file for locking, created if missing. Raise OSError for a link, and for a pipe without blocking."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    handle = None
    while handle is None:
        try:
            # For writing: network file systems lock only such files.
            handle = os.open(path, os.O_RDWR | flags)
        except FileNotFoundError:
            # Separately: in a sticky folder, a call with O_CREAT may not open another user's file.
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
    """Lock an open file, `how` being LOCK_SH or LOCK_EX; return whether it succeeded.

    It always succeeds on file systems without locks.
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
    """Remove a file, a folder or a link (not its target) where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_link(path: Path) -> None:
    """Raise UserError where `path`, which only the workflow's programs create, is a link."""
    if path.is_symlink():
        raise UserError(f"{path}: a link is there, and what it leads to would be overwritten; remove the link")


def is_full(error: Exception, folder: Path) -> bool:
    """Return whether an error means that the disk is full.

    Libraries raise it with only the message of the errno, or without any: then the free space decides.
    """
    if number := getattr(error, "errno", None):
        return number in _FULL
    if any(os.strerror(number) in str(error) for number in _FULL):
        return True
    return isinstance(error, OSError | RuntimeError) and shutil.disk_usage(folder).free <= _ROOM


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raise UserError where it does not exist or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raise UserError where the file has anything else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a JSON object ({{...}}); it is damaged, or not the file that its name says")
    return content


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line, atomically."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_jsonl(path: Path, **keys: type) -> list[dict[str, Any]]:
    """Read one JSON object per line, each with the given keys and types of values.

    Raise UserError where there is no such file, or with the number of an invalid line.
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
    """Return the lines of a text; the last is empty after a final newline. Raise UserError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start:,})") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder`, by relative path, in order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def check_folder(folder: Path) -> None:
    """Raise UserError where a folder does not exist: libraries would read its path as a repository on the hub."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")


def copy_files(source: Path, patterns: Iterable[str], target: Path) -> None:
    """Copy the files that match the patterns into another folder, with the permissions of new files."""
    for path in (path for pattern in patterns for path in sorted(source.glob(pattern))):
        shutil.copyfile(path, target / path.name)


@contextmanager
def _new_partial(path: Path) -> Iterator[Path]:
    """Yield a hidden path next to `path`, without the remains of a killed run; remove it when the block ends.

    The caller has to hold the lock of `path`. The block creates the file or folder. A link there is rejected, not
    followed.
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
    """Raise UserError where the block cannot create `path`: no permission, no space, a file in its place."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Raise UserError where the disk is too full for what the block writes."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_full(error, path.parent):
            raise
        raise OwnError(f"{path}: no space left for it ({error}); make room, and run the same command again") from None


def _lock_of(path: Path) -> Path:
    """Return the hidden lock file next to `path`, which a process that writes `path` locks."""
    return path.with_name(f".{path.name}.lock")


def _lock_or_refuse(path: Path) -> int:
    """Lock `path` and return the handle. Raise UserError where another process has locked it.

    Such a process may have outlived its Snakemake and still be writing.
    """
    refuse_link(_lock_of(path))
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = lock(_lock_of(path))
    if handle is None:
        raise UserError(f"{path}: another process is writing it; wait for it or stop it")
    return handle


def _is_at(path: Path, handle: int) -> bool:
    """Return whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
