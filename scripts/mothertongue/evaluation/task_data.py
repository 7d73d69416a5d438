"""The data of the harness's tasks: fetched once, at pinned commits, then read where there is no network.

The harness reads a dataset of the hub by `datasets.load_dataset` while it makes a task. Here this function is replaced:
a fetch keeps what it returned in a folder, and an evaluation reads it from there. Datasets of local files, which the
users' own tasks may name, are read as always.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import datasets
from huggingface_hub import HfApi

from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.models import hub, lockfile

RECORD = "fetched.json"
# Formats of files, which `load_dataset` takes in the place of a dataset's name.
_FORMATS = ("json", "csv", "parquet", "arrow", "text", "xml", "webdataset", "generator")
# Arguments of `load_dataset` that do not choose data.
_HOW = (
    *("split", "streaming", "num_proc", "keep_in_memory", "download_mode", "verification_mode", "save_infos"),
    "trust_remote_code",
)


@dataclass
class Fetch:
    """A fetch into a folder; `fetched` has the commit, licence and parts of each dataset, for its record."""

    folder: Path
    lock: Path | None
    fetched: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, name: str, part: str | None, choices: Mapping[str, Any]) -> Any:
        """Fetch a part of a dataset (its configuration) and return its splits."""
        entry = self._entry(name, choices.get("revision"))
        path = self.folder / _key(name, part, choices)
        if not path.is_dir():
            log(f"fetch: {name}{f', {part}' if part else ''} at {entry['revision']}")
            at = {} if name in _FORMATS else {"revision": entry["revision"]}
            with TemporaryDirectory() as cache, self._errors(name):
                _splits(name, part, cache, **{**choices, **at}).save_to_disk(path)
            entry["parts"].append(part)
        return datasets.load_from_disk(path)

    def write_record(self, tasks: list[str], harness: str) -> None:
        """Write what was fetched, for which tasks."""
        write_json(self.folder / RECORD, {"tasks": tasks, "harness": harness, "datasets": self.fetched})

    def _entry(self, name: str, wanted: str | None) -> dict[str, Any]:
        """Return the record of a dataset at the revision that a task wants, or the newest one."""
        key = f"{name}@{wanted}" if wanted else name
        if key not in self.fetched:
            # Files at addresses have no commit of their own.
            found = {"revision": None, "licence": "unknown"} if name in _FORMATS else self._resolve(name, key, wanted)
            self.fetched[key] = {**found, "parts": []}
        return self.fetched[key]

    def _resolve(self, name: str, key: str, wanted: str | None) -> dict[str, Any]:
        with self._errors(name):
            revision = lockfile.pin_dataset(self.lock, key, lambda: self._info(name, wanted).sha)
            card = self._info(name, revision).card_data
        return {"revision": revision, "licence": (card.get("license") if card else None) or "unknown"}

    @staticmethod
    def _info(name: str, revision: str | None = None) -> Any:
        return hub.with_retries(lambda: HfApi().dataset_info(name, revision=revision))

    @staticmethod
    @contextmanager
    def _errors(name: str) -> Iterator[None]:
        """Raise UserError where a dataset cannot be fetched, or would run code of its own."""
        try:
            with hub.errors(f"fetch the data of '{name}'", "dataset", "; fetch them where there is internet"):
                yield
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
            raise UserError(
                f"the dataset '{name}' of a task is read by code of its own, which is not run; take its task out of "
                "evaluation.harness or config/benchmark_tasks.tsv"
            ) from None


@dataclass(frozen=True)
class Fetched:
    """A folder that a fetch has written."""

    folder: Path

    def __call__(self, name: str, part: str | None, choices: Mapping[str, Any]) -> Any:
        """Return the splits of a part of a dataset. Raise UserError where it was not fetched."""
        path = self.folder / _key(name, part, choices)
        if not path.is_dir():
            raise UserError(
                f"{self.folder}: the dataset '{name}'{f', {part},' if part else ''} of a task is not in it; run "
                "scripts/fetch_benchmarks.py for these tasks"
            )
        return datasets.load_from_disk(path)


@contextmanager
def reading(source: Fetch | Fetched) -> Iterator[None]:
    """Let the harness's tasks read datasets of the hub from `source` within the block."""

    def read(path: str, name: str | None = None, split: Any = None, **options: Any) -> Any:
        choices = {key: value for key, value in options.items() if key not in _HOW and value is not None}
        local = Path(path).exists() or (path in _FORMATS and not _remote(options.get("data_files")))
        splits = _splits(path, name, **choices) if local else source(path, name, choices)
        return splits if split is None else splits[split]

    with patch.object(datasets, "load_dataset", read):
        yield


def _splits(name: str, part: str | None, cache_dir: str | None = None, **choices: Any) -> Any:
    """Return the splits of a dataset."""
    builder = datasets.load_dataset_builder(name, part, cache_dir=cache_dir, **choices)
    builder.download_and_prepare()
    return builder.as_dataset()


def _remote(files: Any) -> bool:
    """Return whether one of a dataset's files is at an address: of the hub (hf://), or elsewhere."""
    if isinstance(files, Mapping):
        return any(map(_remote, files.values()))
    if isinstance(files, list | tuple):
        return any(map(_remote, files))
    return "://" in str(files)


def _key(name: str, part: str | None, choices: Mapping[str, Any]) -> str:
    """Return the name of the folder of a part of a dataset."""
    key = "--".join([*name.split("/"), *(part.split("/") if part else [])])
    if choices:
        key += "--" + hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]
    return key
