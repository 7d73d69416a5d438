"""Fetch models from the hub, a local folder or file, or an installed package into a folder of the workflow.

The folder's `fetched.json` records the reference, the resolved revision, the licence and the checksum of every file.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mothertongue.common import front_matter
from mothertongue.common.atomic_files import folder_checksums, read_object
from mothertongue.common.errors import UserError
from mothertongue.model_folders import contents
from mothertongue.model_folders.contents import RECORD
from mothertongue.model_folders.reading import check
from mothertongue.models import hub
from mothertongue.models.record import read_record
from mothertongue.models.references import Reference, locate

_LEFT_OUT = ["original/*", "consolidated*", "*/*", RECORD, *contents.ADAPTER]
_PICKLES = "pytorch_model*.bin"
_CONFIGURATION = "config.json"
# Limits of the number and length of a card's licences, which our messages and cards repeat.
_MOST_LICENCES, _LONGEST_LICENCE = 20, 200
_ADVICE = "; without a network, fetch it elsewhere and name its local folder"


@dataclass(frozen=True)
class Resolved:
    """The revision and licence of a fetched reference; `revision` is None where only checksums identify it."""

    revision: str | None
    licence: str | None


def fetch(
    reference: Reference, folder: Path, kept: Path | None = None, weights: Sequence[str] = contents.WEIGHTS
) -> None:
    """Fetch a model's files into `folder` as `download`, and record them."""
    write_record(folder, reference, download(reference, folder, weights=weights, kept=kept))


def fetch_safetensors(reference: Reference, folder: Path) -> dict[str, Any]:
    """Fetch a model as it is and return its configuration. Raise UserError where it has no weights in safetensors."""
    fetch(reference, folder)
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"'{reference.text}': no weights in safetensors; other formats are not loaded")
    with naming(reference, folder):
        return check(folder)


def download(
    reference: Reference,
    folder: Path,
    pickle: bool = False,
    weights: Sequence[str] = contents.WEIGHTS,
    kept: Path | None = None,
) -> Resolved:
    """Fetch a model's files into `folder` from the hub, a local folder, file or package.

    Include the `weights`, given as patterns of names and linked where they are local, and the small files of model and
    tokenizer. Exclude code and adapters, and remove references to code from the settings. `pickle` allows
    pytorch_model.bin where a model has no safetensors, such as NLLB and many OPUS-MT models. `kept` is a folder on the
    same disk in which an interrupted download keeps finished files for the next try. Raise UserError for a model that
    needs its own code.
    """
    if reference.kind == "hub":
        return _download(reference, folder, pickle, weights, kept)
    source = locate(reference)
    if source.is_dir():
        names = [path.name for path in source.iterdir()]
        patterns = [*contents.SMALL, *weights, *_pickles(names, pickle)]
        contents.take(source, folder, patterns, link=reference.kind == "folder")
    else:
        (folder / source.name).symlink_to(source.resolve())
    revision = _version(reference) if reference.kind == "package" else None
    return Resolved(revision, licence(reference))


@contextmanager
def naming(reference: Reference, folder: Path) -> Iterator[None]:
    """Replace the folder into which a model is fetched by the model's reference in UserErrors of the block."""
    try:
        yield
    except UserError as error:
        text = str(error).replace(f"{folder}/", f"{reference.text}: ")
        raise UserError(text.replace(str(folder), reference.text)) from None


def configuration(reference: Reference) -> dict[str, Any]:
    """Return a model's config.json, fetching no other file; empty where it has none."""
    if reference.kind != "hub":
        return _configuration(locate(reference))
    (repository, _), info = reference.hub_id, _hub_info(reference)
    with tempfile.TemporaryDirectory() as scratch:
        with _errors(reference):
            hub.download(repository, info, Path(scratch), "model", [_CONFIGURATION])
        return _configuration(Path(scratch))


def licence(reference: Reference) -> str | None:
    """Return the licence on a model's card; None where there is no card or no licence on it."""
    if reference.kind == "firefox":
        return "mpl-2.0"
    if reference.kind == "hub":
        return _card_licence(_hub_info(reference).card_data)
    card = locate(reference) / "README.md"
    return _card_licence(front_matter.read_file(card)) if card.is_file() else None


def write_record(folder: Path, reference: Reference, resolved: Resolved) -> None:
    """Write `fetched.json` for the files currently in the folder."""
    files = {name: checksum for name, checksum in folder_checksums(folder).items() if name != RECORD}
    record = {
        "reference": reference.name,
        "kind": reference.kind,
        "revision": resolved.revision or "sha256:" + _digest(files),
        "licence": resolved.licence,
        "files": files,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def add_licence(folder: Path, licence: str) -> None:
    """Record `licence` where the model's card names none."""
    record = read_record(folder)
    record["licence"] = record["licence"] or licence or None
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def hub_files(reference: Reference) -> tuple[str, dict[str, str]]:
    """Return the commit that a hub reference currently resolves to, and the hub's checksum of each of its files."""
    info = _hub_info(reference)
    return info.sha, {file.rfilename: hub.recorded_checksum(file) for file in info.siblings or []}


def package_version(reference: Reference) -> str:
    """Return the version of a reference's package; empty where it belongs to no distribution."""
    return _version(reference) or ""


def _configuration(folder: Path) -> dict[str, Any]:
    return read_object(folder / _CONFIGURATION) if (folder / _CONFIGURATION).is_file() else {}


def _download(reference: Reference, folder: Path, pickle: bool, weights: Sequence[str], kept: Path | None) -> Resolved:
    """Download a hub model at the commit that its revision currently resolves to."""
    info = _hub_info(reference)
    names = [file.rfilename for file in info.siblings or []]
    contents.log_left_out(f"'{reference.text}'", names)
    repository, _ = reference.hub_id
    patterns = [*contents.SMALL, *weights, *_pickles(names, pickle)]
    place = kept or folder
    with _errors(reference):
        names = hub.download(repository, info, place, "model", patterns, _LEFT_OUT)
    if kept:
        for name in names:
            (kept / name).replace(folder / name)
    shutil.rmtree(kept or folder / ".cache", ignore_errors=True)
    contents.leave_out_code(folder)
    return Resolved(info.sha, _card_licence(info.card_data))


def _hub_info(reference: Reference) -> Any:
    """Return the hub's information on a model: commit, files, card."""
    from huggingface_hub import HfApi

    repository, revision = reference.hub_id
    with _errors(reference):
        return hub.with_retries(lambda: HfApi().model_info(repository, revision=revision, files_metadata=True))


def _errors(reference: Reference) -> AbstractContextManager[None]:
    return hub.errors(f"fetch '{reference.text}' from the hub", "model", _ADVICE)


def _card_licence(card: Any) -> str | None:
    """Return the licence in a card's header, which may be one, several, or `other` with a custom name."""
    if not hasattr(card, "get"):
        return None
    found = card.get("license") or card.get("licence")
    names = [*(found if isinstance(found, list) else [found]), card.get("license_name")]
    return ", ".join(str(name)[:_LONGEST_LICENCE] for name in names[:_MOST_LICENCES] if _is_named(name)) or None


def _is_named(licence: Any) -> bool:
    return isinstance(licence, str) and licence not in ("", "null", "~", "other")


def _version(reference: Reference) -> str | None:
    """Return the version of the distribution that contains a reference's package."""
    name = reference.text.removeprefix("package:").split("/")[0]
    distributions = metadata.packages_distributions().get(name, [])
    return metadata.version(distributions[0]) if distributions else None


def _pickles(names: Sequence[str], allowed: bool) -> list[str]:
    """Return the pattern of pickled weights where they are allowed and the model has no safetensors."""
    return [_PICKLES] if allowed and not any(name.endswith(".safetensors") for name in names) else []


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
