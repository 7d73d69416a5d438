"""Resolve the configuration's `source.dataset` to local files or a hub id."""

import re
from pathlib import Path

from mothertongue.common.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_SPLITS = ("train", "validation")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a dataset's id on the hub."""
    return bool(_HUB_ID.fullmatch(name)) and not name.endswith(SUFFIXES)


def local_files(dataset: list[str]) -> dict[str, Path]:
    """Return the files by split of a dataset given as FILE or train=FILE validation=FILE; none for a hub id.

    Raise UserError where it has none of these forms.
    """
    if len(dataset) == 1:
        path = Path(dataset[0]).expanduser()
        if path.exists() or dataset[0].endswith(SUFFIXES):
            return {"train": path}
        if not is_hub_id(dataset[0]):
            raise UserError(f"source.dataset '{dataset[0]}': no such file, and not a hub id (owner/name)")
        return {}
    files = dict(item.partition("=")[::2] for item in dataset)
    if set(files) != set(_SPLITS) or len(dataset) != len(_SPLITS):
        raise UserError(f"source.dataset {' '.join(dataset)}: expected one file, or train=FILE validation=FILE")
    return {split: Path(files[split]).expanduser() for split in _SPLITS}


def check_exist(files: dict[str, Path]) -> None:
    """Raise UserError where a file of the dataset does not exist."""
    for path in files.values():
        if not path.is_file():
            raise UserError(f"source.dataset: no such file: {path}")
