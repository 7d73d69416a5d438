"""The record of a model folder, fetched.json: which model it is, at which revision, with which files.

It is written where a model is fetched or made, and read by all that goes on from it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_object
from mothertongue.common.errors import UserError
from mothertongue.model_folders.contents import RECORD


def read_record(folder: Path, *needed: str) -> dict[str, Any]:
    """What `fetch` recorded, or of a merged model `merge`, with the other texts that are `needed`.

    Raises UserError where the folder was not made by them.
    """
    if not (folder / RECORD).is_file():
        raise UserError(f"{folder}: no {RECORD} in it; make the folder with scripts/fetch_*_model.py")
    record = read_object(folder / RECORD)
    texts = [record.get(name) for name in ("reference", "kind", "revision", *needed)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.get("licence", 0), str | None):
        raise UserError(f"{folder / RECORD}: damaged, or of another kind of folder; fetch or make the model again")
    return record


def base_entry(folder: Path, adapter: Path) -> dict[str, Any]:
    """What an adapter says of its base model; `folder` is relative to the adapter, so that both can move together."""
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
    """What an adapter's base model is called: its id on the hub, its package, or its local folder or file by name."""
    reference = base["reference"]
    return reference if base["hub_id"] or reference.startswith("package:") else Path(reference).name


def identity(folder: Path) -> str:
    """The model of a fetched folder as `name@revision`; where this machine has a local one is nobody's business."""
    record = read_record(folder)
    local = record["kind"] in ("folder", "file")
    return f"{Path(record['reference']).name if local else record['reference']}@{record['revision']}"
