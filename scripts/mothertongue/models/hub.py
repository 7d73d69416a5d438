"""Access the model hub: retry where it is busy, report its errors in one line, verify the checksums of downloads."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mothertongue.common.atomic_files import sha256
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log

T = TypeVar("T")
_QUERY = re.compile(r"(?<=\w)\?[^\s'\"]*=[^\s'\"]*")
# Advice by the error of the hub's client, or by the HTTP status without an error class of its own.
_REFUSED = {
    "GatedRepoError": "its licence must be accepted on its page, and HF_TOKEN be set to a token of that account",
    "RepositoryNotFoundError": "there is no such {kind}, or it is private: check its name, or set HF_TOKEN",
    "RevisionNotFoundError": "the revision does not exist (any more): name another, as its page lists them",
    401: "the hub does not accept the token in HF_TOKEN: it is wrong, or has expired",
    403: "the token in HF_TOKEN does not allow it",
}
# Environment variables of a token, in the order in which the hub's client reads them.
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# HTTP statuses of a busy hub, and the total number of tries.
_BUSY = (408, 429, 500, 502, 503, 504)
_TRIES = 5


def check_token() -> str:
    """Return the token of the environment; empty where there is none. Raise UserError where it is malformed."""
    for name in _TOKENS:
        if token := os.environ.get(name, "").strip():
            _check_token(token, name)
            return token
    return ""


def _check_token(token: str, name: str) -> None:
    """Raise UserError for a malformed token: the HTTP library's error would show it."""
    if token and not re.fullmatch(r"[!-~]+", token):
        raise UserError(
            f"{name} is not a token: there is a space, a line break or a strange letter in it; set it again"
        )


def with_retries(ask: Callable[[], T]) -> T:
    """Return the result of `ask`; retry where the hub is busy or a connection breaks, after the hub's Retry-After.

    The hub's client (huggingface_hub 2.4.0) itself retries only some requests: HEAD requests and listings of files, and
    parts of uploads. It sends those of model_info, dataset_info, repo_info, create_repo and create_commit once, and
    gives up a file whose download is answered with 500 to 504. Commits need care: `ask` must compare with the
    repository again, so that a commit whose answer was lost is not made twice.
    """
    for tries in range(1, _TRIES):
        try:
            return ask()
        except Exception as error:  # the hub client's HTTP library has errors of its own
            chain = list(_chain(error))
            status = next((found for found in map(_status, chain) if found), None)
            broken = any("TransportError" in _kinds(link) and "ConnectError" not in _kinds(link) for link in chain)
            if status not in _BUSY and (status or not broken):
                raise
            wait = next((seconds for seconds in map(_retry_after, chain) if seconds is not None), 2 ** (tries - 1))
            log(f"the hub {f'answers {status}' if status else 'broke off'}; it is asked again in {wait} s")
        time.sleep(wait)
    return ask()


@contextmanager
def errors(what: str, kind: str, advice: str = "") -> Iterator[None]:
    """Convert the hub client's errors to a UserError of one line: the failed action, the reason, the advice.

    `advice` ends the message where the hub cannot be reached or has failed. Raise UserError before any request where
    the token is malformed.
    """
    from huggingface_hub.constants import HF_TOKEN_PATH
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    saved = Path(HF_TOKEN_PATH)
    if not check_token() and saved.is_file():
        _check_token(saved.read_text(encoding="utf-8", errors="replace").strip(), str(saved))
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the hub client's HTTP library has errors of its own
        chain = list(_chain(error))
        refusals = [_REFUSED.get(type(link).__name__) or _REFUSED.get(_status(link)) for link in chain]
        if refusal := next(filter(None, refusals), None):
            raise UserError(f"cannot {what}: {refusal.format(kind=kind)}") from None
        answered = any(isinstance(link, HfHubHTTPError) for link in chain)
        # The hub rejects a name or a card: all lines of the message give the reason.
        if isinstance(error, HFValidationError) or (type(error) is ValueError and answered):
            raise UserError(f"cannot {what}: {error}") from None
        known = (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError)
        if isinstance(error, known) or answered or any("TransportError" in _kinds(link) for link in chain):
            reasons = dict.fromkeys(map(_first_line, chain if type(error) is RuntimeError else [error]))
            raise UserError(f"cannot {what}: {' '.join(reasons)}{advice}") from None
        raise


def download(
    repository: str, info: Any, folder: Path, kind: str, patterns: list[str], left_out: list[str] | None = None
) -> list[str]:
    """Download the files of a repository at the commit of `info` that match; return their names.

    Files that are already in the folder are not downloaded again. Raise UserError where a file's checksum differs from
    the hub's.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    with_retries(
        lambda: snapshot_download(
            repository,
            repo_type=kind,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=patterns,
            ignore_patterns=left_out,
        )
    )
    recorded = {file.rfilename: file for file in info.siblings or []}
    names = list(filter_repo_objects(recorded, allow_patterns=patterns, ignore_patterns=left_out))
    for name in names:
        path, file = folder / name, recorded[name]
        if not path.is_file() or checksum(path, file.lfs) != recorded_checksum(file):
            path.unlink(missing_ok=True)
            raise UserError(f"{repository}: {name} came with another checksum than the hub has of it; fetch it again")
    return names


def recorded_checksum(file: Any) -> str:
    """Return the hub's checksum of a file: SHA-256 for large files (LFS), git's object id for others."""
    return file.lfs.sha256 if file.lfs else file.blob_id


def checksum(path: Path, large: Any) -> str:
    """Return a local file's checksum of the hub's kind: SHA-256 where `large` is set, else git's object id."""
    if large:
        return sha256(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    while error:
        yield error
        error = error.__cause__


def _kinds(error: BaseException) -> set[str]:
    """Return the names of an error's class and base classes."""
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _retry_after(error: BaseException) -> int | None:
    """Return the seconds of the Retry-After header; None where there is none."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = headers.get("Retry-After", "")
    return int(value) if value.isdigit() else None


def _first_line(error: BaseException) -> str:
    """Return the first line of an error without the queries of URLs, which may contain an upload's signature."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _QUERY.sub("", line)
