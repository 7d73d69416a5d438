"""The record of a model folder, fetched.json: the model's reference, revision, licence and files.

It is written when a model is fetched or made, and read by all later steps.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_object
from mothertongue.common.errors import UserError
from mothertongue.model_folders.contents import RECORD


def read_record(folder: Path, *needed: str) -> dict[str, Any]:
    """Return the record written by `fetch`, or by `merge` for a merged model; `needed` names further required strings.

    Raise UserError where the record is missing or damaged.
    """
    if not (folder / RECORD).is_file():
        raise UserError(f"{folder}: no {RECORD} in it; make the folder with scripts/fetch_*_model.py")
    record = read_object(folder / RECORD)
    texts = [record.get(name) for name in ("reference", "kind", "revision", *needed)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.get("licence", 0), str | None):
        raise UserError(f"{folder / RECORD}: damaged, or of another kind of folder; fetch or make the model again")
    return record


def base_entry(folder: Path, adapter: Path) -> dict[str, Any]:
    """Return an adapter's entry for its base model; `folder` is relative to the adapter, so both can move together."""
    record = read_record(folder)
    hub_id = record["reference"] if record["kind"] == "hub" else None
    return {
        "reference": record["reference"],
        "revision": record["revision"],
        "licence": record["licence"],
        "hub_id": hub_id,
        "folder": os.path.relpath(folder.resolve(), adapter.resolve()),
    }


def base_name(base: Mapping[str, Any]) -> str:
    """Return the name of an adapter's base model: its hub id, its package reference, or its folder's or file's name."""
    reference = base["reference"]
    return reference if base["hub_id"] or reference.startswith("package:") else Path(reference).name


def identity(folder: Path) -> str:
    """Return the model of a fetched folder as `name@revision`, without the path of a local model, which is private."""
    return identity_of(read_record(folder))


def identity_of(record: Mapping[str, Any]) -> str:
    """Return the model of a record as `identity` does."""
    local = record.get("kind") in ("folder", "file")
    return f"{Path(record['reference']).name if local else record['reference']}@{record['revision']}"
