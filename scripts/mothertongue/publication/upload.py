"""Publication: upload files of the workflow to a repository on the hub, in one commit and only where they changed.

A file in the repository lists the published files and what they were made from: only listed files are ever deleted, and
a repository without the list is treated as somebody else's.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import sha256, write_json
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.models import hub, references

Files = dict[str, Path]
# The list of published files in the repository, and its size limit in bytes: it has a few dozen names.
LIST = "mothertongue.json"
_LONGEST_LIST = 2**20
_MADE_BY = "Mothertongue"
# The hub creates and needs this file.
_HUBS_OWN = ".gitattributes"
_ADVICE = "; publish again later: what has been sent is not sent again"
# Characters that repository names cannot contain.
_REFUSED = re.compile(r"[^A-Za-z0-9._-]+|-{2,}|\.{2,}")


@dataclass(frozen=True)
class Target:
    """The repository to publish to; `kind` is model or dataset.

    `made_from` is a hash of the inputs: a repository that was made from other inputs is refused. `private` applies to a
    new repository. `existing` allows a repository that the workflow did not make, or made from other inputs.
    """

    repository: str
    kind: str
    private: bool
    made_from: str
    existing: bool = False


def repository_name(*parts: str) -> str:
    """Return a name that the hub accepts, from parts joined by hyphens."""
    return _REFUSED.sub("-", "-".join(part for part in parts if part)).strip("-.")[:96].rstrip("-.")


def short_name(source: str) -> str:
    """Return the name of a dataset or model within names of derived ones: without owner, folder and suffix."""
    return re.sub(r"\.(jsonl|jsonl\.gz|parquet|gguf)$", "", source.rstrip("/").rpartition("/")[2])


def model_name(model: str) -> str:
    """Return the name of a model within names of derived ones: also without the revision of a hub id."""
    reference = references.parse(model)
    on_disk = reference.kind in ("folder", "file")
    return short_name(str(references.locate(reference).absolute()) if on_disk else reference.name)


def made_from(*parts: str) -> str:
    """Return a hash of the inputs of a publication, which does not reveal them."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def adapter_names(base_models: Mapping[str, str], lang: str, name: str = "") -> dict[str, str]:
    """Return the repository name of each variant's adapter ("" is the language's own), from the base models of all.

    All contain the base model and the configured `name`, where there is one; a variant's name is added where another
    adapter has the same name. Raise UserError where two would share a repository: the hub ignores case.
    """
    called = {variant: (model_name(model), name, lang) for variant, model in base_models.items()}
    plain = {variant: repository_name(*parts) for variant, parts in called.items()}
    taken = [name.lower() for name in plain.values()]
    names: dict[str, str] = {}
    for variant, own in plain.items():
        shared = variant and taken.count(own.lower()) > 1
        names[variant] = repository_name(*called[variant], variant) if shared else own
    for one, other in combinations(names, 2):
        if names[one].lower() == names[other].lower():
            raise UserError(
                f"variants: {one or 'the own adapter'} and {other} would share {names[one]}; rename {other}"
            )
    return names


def check_namespace(namespace: str | None) -> None:
    """Raise UserError where the configuration does not name the owner of the repositories."""
    if not namespace:
        raise UserError("publication.namespace is null: set it to your name on the hub, or that of an organisation")


def check_token() -> str:
    """Return the token of the environment. Raise UserError where there is none, or it cannot be valid."""
    if token := hub.check_token():
        return token
    raise UserError("HF_TOKEN is not set: publishing needs a token of the hub there, with the right to write")


def files_of(folder: Path, names: Sequence[str]) -> Files:
    """Return the files of these names in a folder; no others are published.

    Raise UserError where there are none, and where one is a link, which may lead anywhere, or not a regular file.
    """
    files = {name: folder / name for name in sorted(names) if os.path.lexists(folder / name)}
    if not files:
        raise UserError(f"{folder / names[0]}: no such file, nor another that is published; build it first")
    # The folder itself may be a link, to another disk. (realpath also handles loops of links.)
    place = Path(os.path.realpath(folder))
    for name, path in files.items():
        if not path.is_file() or Path(os.path.realpath(path)) != place / name:
            raise UserError(f"{path}: a link, or no plain file, which is not published; put the file itself there")
    return files


def write_list(path: Path, target: Target, files: Files) -> Files:
    """Write the list of files to `path`, and return the files including the list."""
    names = sorted({*files, LIST})
    write_json(path, {"made_by": _MADE_BY, "made_from": target.made_from, "files": names})
    return {**files, LIST: path}


def plan(target: Target, files: Files) -> str:
    """Return what would be published, as text for users."""
    sizes = {name: path.stat().st_size for name, path in sorted(files.items())}
    lines = [f"{size:>15,}  {name}" for name, size in sizes.items()]
    visibility = f"{'private' if target.private else 'public'} where it is new"
    first = f"{target.kind} {target.repository} ({visibility}): {len(files)} files, {sum(sizes.values()):,} bytes"
    return "\n".join([first, *lines])


def push(target: Target, files: Files, token: str) -> dict[str, Any]:
    """Publish the files, which include their list; files that are unchanged on the hub are not sent again.

    Return the repository, the commit, and the checksum of every file. Raise UserError where the hub refuses, and before
    anything is sent where the repository is public but must be private, or may not be changed.
    """
    from huggingface_hub import HfApi

    api, repository, kind = HfApi(token=token), target.repository, target.kind
    with hub.errors(f"publish to {repository} on the hub", kind, _ADVICE):
        there = hub.with_retries(lambda: _find_or_create(api, target))
        if there.private and not target.private:
            log(f"{repository} is private and stays so: publication.private (public) counts where a repository is new")
        commit = hub.with_retries(lambda: _commit(api, target, files))
    log(f"{repository}: {'nothing has changed, no commit' if commit == there.sha else f'commit {commit}'}")
    return {
        "repo": repository,
        "type": kind,
        "url": f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repository}",
        "commit": commit,
        "private": there.private,
        "files": {name: sha256(path) for name, path in sorted(files.items())},
    }


def _find_or_create(api: Any, target: Target) -> Any:
    """Return the hub's information on the repository, creating it where it does not exist."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.repo_info(target.repository, repo_type=target.kind)
    except RepositoryNotFoundError:
        api.create_repo(target.repository, repo_type=target.kind, private=target.private, exist_ok=True)
        return api.repo_info(target.repository, repo_type=target.kind)


def _commit(api: Any, target: Target, files: Files) -> str:
    """Return the commit at which the repository has these files: a new one, or the last where nothing changed."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repository, kind = target.repository, target.kind
    info = api.repo_info(repository, repo_type=kind, files_metadata=True)
    _check_visibility(target, info)
    there = {file.rfilename: file for file in info.siblings if file.rfilename != _HUBS_OWN}
    listed = _listed(api, target, info, there)
    changed = [name for name, path in files.items() if name not in there or _differs(path, there[name])]
    gone = [name for name in there if name in listed and name not in files]
    if gone:
        log(f"{repository}: not in what is published, and deleted there: {', '.join(gone)}")
    if not changed and not gone:
        return info.sha
    additions = [CommitOperationAdd(name, files[name]) for name in changed]
    api.preupload_lfs_files(repository, additions, repo_type=kind)
    # Check again: uploading large files takes hours, and they are invisible before the commit.
    _check_visibility(target, api.repo_info(repository, repo_type=kind))
    operations = [*additions, *(CommitOperationDelete(name) for name in gone)]
    # With parent_commit the hub refuses the commit if another one has been made since the comparison.
    message = f"{len(changed)} files of {len(files)} from {_MADE_BY}"
    return api.create_commit(repository, operations, commit_message=message, repo_type=kind, parent_commit=info.sha).oid


def _check_visibility(target: Target, info: Any) -> None:
    """Raise UserError where private files would become public."""
    if target.private and not info.private:
        raise UserError(
            f"{target.repository} is public, and publication.private is true: nothing is published; make it private on"
            " its page, or set publication.private to false"
        )


def _listed(api: Any, target: Target, info: Any, there: Mapping[str, Any]) -> list[str]:
    """Return the files that the workflow published there earlier.

    Raise UserError where the workflow did not make the repository, or made it from other inputs, unless that is
    allowed.
    """
    if not there:
        return []
    found = _read_list(api, target, info.sha) if LIST in there and there[LIST].size <= _LONGEST_LIST else None
    what = "was not made by this workflow" if found is None else "was made from other data, or another model"
    if not target.existing and (found is None or found["made_from"] != target.made_from):
        raise UserError(
            f"{target.repository} is there, and {what}: nothing is published; set publication.name to another name, or"
            " publication.existing to true to publish there all the same"
        )
    return found["files"] if found else []


def _read_list(api: Any, target: Target, commit: str) -> dict[str, Any] | None:
    """Return the list of published files; None where this workflow did not write it."""
    with tempfile.TemporaryDirectory() as scratch:
        where = {"repo_type": target.kind, "revision": commit, "local_dir": scratch}
        path = Path(api.hf_hub_download(target.repository, LIST, **where))
        try:
            found = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return None
    ours = isinstance(found, dict) and found.get("made_by") == _MADE_BY and isinstance(found.get("files"), list)
    return found if ours and "made_from" in found else None


def _differs(path: Path, file: Any) -> bool:
    return path.stat().st_size != file.size or hub.checksum(path, file.lfs) != hub.recorded_checksum(file)
