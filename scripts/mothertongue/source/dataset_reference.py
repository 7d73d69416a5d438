"""Resolve the configuration's `source.dataset` to local files or a hub id."""

import re
from collections.abc import Sequence
from pathlib import Path

from mothertongue.common.errors import UserError

_KINDS = (".jsonl", ".json", ".csv", ".tsv")
# The files that source.files reads.
SUFFIXES = (*_KINDS, *(f"{kind}{packed}" for kind in _KINDS for packed in (".gz", ".zst")), ".parquet")
KINDS = ".jsonl, .json, .csv or .tsv, also with .gz or .zst, or .parquet"
_SPLITS = ("train", "validation")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a dataset's id on the hub."""
    return bool(_HUB_ID.fullmatch(name)) and not name.endswith(SUFFIXES)


def local_files(dataset: Sequence[str]) -> dict[str, list[Path]]:
    """Return the files by split of a dataset given as PATH or train=PATH validation=PATH; none for a hub id.

    A path may be a folder, whose files of known kinds are taken, with those of folders in it, in the order of their
    names. Raise UserError where the dataset has none of these forms, and where a folder has no such file.
    """
    if len(dataset) == 1:
        path = Path(dataset[0]).expanduser()
        if path.exists() or dataset[0].endswith(SUFFIXES):
            return {"train": _files(path)}
        if not is_hub_id(dataset[0]):
            raise UserError(f"source.dataset '{dataset[0]}': no such file, and not a hub id (owner/name)")
        return {}
    paths = dict(item.partition("=")[::2] for item in dataset)
    if set(paths) != set(_SPLITS) or len(dataset) != len(_SPLITS):
        raise UserError(f"source.dataset {' '.join(dataset)}: expected one path, or train=PATH validation=PATH")
    return {split: _files(Path(paths[split]).expanduser()) for split in _SPLITS}


def check_exist(files: dict[str, list[Path]]) -> None:
    """Raise UserError where a file of the dataset does not exist."""
    for path in (path for paths in files.values() for path in paths):
        if not path.is_file():
            raise UserError(f"source.dataset: no such file: {path}")


def named(items: Sequence[str], option: str) -> dict[str, str]:
    """Return values of an option of the form NAME=VALUE by name. Raise UserError where one has another form."""
    if wrong := next((item for item in items if not item.partition("=")[0] or "=" not in item), None):
        raise UserError(f"{option} {wrong}: expected NAME=VALUE")
    return {name: value for name, _, value in (item.partition("=") for item in items)}


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())
    found = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    if not found:
        raise UserError(f"source.dataset: no file of a known kind in the folder {path} ({KINDS})")
    return found
