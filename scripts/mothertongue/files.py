"""Files and folders that appear whole or not at all."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mothertongue.errors import OwnError, UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A disk with no more bytes than these is full for all but the smallest files.
_ROOM = 2**20


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` when the block ends well and is removed when it does not.

    Raises UserError where another living process is writing the same file, and where there is no space left for it.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder is there, where a file is to be written")
    partial = _partial(path)
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    with _locked(partial):
        try:
            with _room(path):
                yield partial
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill; it replaces `path` when the block ends well and is removed when it does not.

    Raises UserError where another living process is writing the same folder, and where there is no space left for it.
    """
    if path.is_file():
        raise UserError(f"{path}: a file is there, where a folder is to be written")
    partial = _partial(path)
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir(exist_ok=True)
    with _locked(partial):
        for left_over in partial.iterdir():
            shutil.rmtree(left_over) if left_over.is_dir() and not left_over.is_symlink() else left_over.unlink()
        try:
            with _room(path):
                yield partial
                if path.exists():
                    shutil.rmtree(path)
                partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that is removed when the block ends; what a killed run has left there is removed first.

    Raises UserError where there is no space left for it.
    """
    shutil.rmtree(path, ignore_errors=True)
    with _writable(path):
        path.mkdir(parents=True)
    try:
        with _room(path):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def is_full(error: Exception, folder: Path) -> bool:
    """Whether an error is one of a disk without space. Libraries say it in words of their own, or fail without any."""
    if number := getattr(error, "errno", None):
        return number in _FULL
    if any(os.strerror(number) in str(error) for number in _FULL):
        return True
    return isinstance(error, OSError | RuntimeError) and shutil.disk_usage(folder).free <= _ROOM


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError where it does not exist or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
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


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line. Raises UserError where there is no file, or naming the line that is not JSON."""
    rows = []
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                rows.append(json.loads(line))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: line {len(rows) + 1}: not JSON ({error})") from None
    return rows


def read_lines(path: Path) -> list[str]:
    """The lines of a text; the last is empty where it ends with a newline. Raises UserError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").split("\n")
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


def _partial(path: Path) -> Path:
    """A hidden neighbour of `path`; an earlier, killed run may have left one."""
    return path.with_name(f".{path.name}.partial")


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


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Hold the file or folder: a process that outlived its killed Snakemake must not write beside its successor."""
    handle = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"{partial}: another process is writing it; wait for it or stop it") from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)
