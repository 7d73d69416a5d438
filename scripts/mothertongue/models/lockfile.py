"""The lock file: revisions and checksums of models at their first fetch, to fetch the same again.

A hub reference without a revision resolves to the newest commit, which changes. The lock records the commit and the
checksum of every file: a later fetch, here or on another machine with the lock, uses that commit, and files that differ
at the same revision are rejected. Models in local folders and files belong to the user and are not recorded.

`{"owner/name": {"revision": "0123...", "files": {"config.json": "4567..."}}}`; the checksums of hub files are the hub's
own, against which downloads are verified.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import folder_checksums, read_json, sha256, write_json
from mothertongue.common.atomic_files import lock as lock_file
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.models import fetching
from mothertongue.models.record import read_record
from mothertongue.models.references import Reference, locate

# The revision of models whose releases have no names.
_NEWEST = "newest"
# Seconds to wait for other processes that hold the lock while they ask the hub for a commit and record it.
_PATIENCE = 300


def add_argument(parser: Any) -> None:
    """Add the argument --lock to the parser of a script that fetches."""
    parser.add_argument(
        "--lock", type=Path, help="JSON file that pins references: at the first fetch written, then kept to"
    )


def pin(lock: Path | None, reference: Reference) -> Reference:
    """Return the reference at its locked revision; add a missing entry to the lock.

    Raise UserError where files differ from the lock's. Without a lock, return the reference unchanged.
    """
    if not lock or reference.kind not in ("hub", "package"):
        return reference
    with _alone(lock):
        entry = _read(lock).get(reference.text)
        if reference.kind == "package":
            _hold(lock, reference, fetching.package_version(reference), _package_files(locate(reference)))
            return reference
        at = f"{reference.name}@{entry['revision']}" if entry else reference.text
        revision, files = fetching.hub_files(replace(reference, text=at))
        _hold(lock, reference, revision, files)
        return replace(reference, text=f"{reference.name}@{revision}")


def pin_dataset(lock: Path | None, name: str, newest: Callable[[], str]) -> str:
    """Return the locked commit of a dataset on the hub; at its first fetch record the newest one, `datasets/NAME`."""
    if not lock:
        return newest()
    key = f"datasets/{name}"
    with _alone(lock):
        entries = _read(lock)
        if key not in entries:
            write_json(lock, dict(sorted((entries | {key: {"revision": newest(), "files": {}}}).items())))
        return _read(lock)[key]["revision"]


def check_fetched(lock: Path | None, reference: Reference, folder: Path) -> None:
    """Compare a fetched firefox model, available only in its newest release, with the lock, or add it to the lock.

    Raise UserError where it differs from the model of the first fetch.
    """
    if lock and reference.kind == "firefox":
        with _alone(lock):
            _hold(lock, reference, _NEWEST, read_record(folder)["files"])


def _hold(lock: Path, reference: Reference, revision: str, files: Mapping[str, str]) -> None:
    """Write a new or changed revision's entry; raise UserError where the files of an equal revision differ."""
    entries = _read(lock)
    entry = entries.get(reference.text)
    if entry and entry["revision"] == revision:
        for name in sorted(entry["files"].keys() | files.keys()):
            if entry["files"].get(name) != files.get(name):
                raise UserError(
                    f"'{reference.text}': {name} is not what {lock} has of revision {revision}: it was changed or"
                    f" replaced; where that is wanted, delete the entry of '{reference.text}' there"
                )
        return
    if entry:
        log(f"'{reference.text}': {revision} is fetched; {lock} had {entry['revision']}")
    write_json(lock, dict(sorted((entries | {reference.text: {"revision": revision, "files": files}}).items())))


def _read(lock: Path) -> dict[str, Any]:
    """Return the entries of a lock; none where there is no file. Raise UserError where it is damaged."""
    if not lock.exists():
        return {}
    entries = read_json(lock)
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        raise UserError(f"{lock}: damaged; mend it, or delete it: the newest models are fetched then")
    return entries


def _is_entry(entry: Any) -> bool:
    texts = isinstance(entry, dict) and isinstance(entry.get("revision"), str) and isinstance(entry.get("files"), dict)
    return texts and all(isinstance(checksum, str) for checksum in entry["files"].values())


def _package_files(path: Path) -> dict[str, str]:
    return folder_checksums(path) if path.is_dir() else {path.name: sha256(path)}


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock exclusively in the block. Raise UserError where another process keeps it for _PATIENCE seconds."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    # Another file than the one that writing the lock itself holds.
    held = lock.with_name(f".{lock.name}.held")
    ends = time.monotonic() + _PATIENCE
    while (handle := lock_file(held)) is None:
        if time.monotonic() > ends:
            raise UserError(f"{held}: another process has held it for {_PATIENCE} s; stop it, or remove the file")
        time.sleep(0.1)
    try:
        yield
    finally:
        os.close(handle)
