"""Publication: files of the workflow go into a repository on the hub, in one commit and only where something changed.

A file in the repository lists what was published there, and from what it was made: only what it lists is ever deleted,
and a repository without it is somebody's own.
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
# The list of what was published, in the repository itself, and how long it can be: a few dozen names.
LIST = "mothertongue.json"
_LONGEST_LIST = 2**20
_MADE_BY = "Mothertongue"
# The hub makes it, and needs it.
_HUBS_OWN = ".gitattributes"
_ADVICE = "; publish again later: what has been sent is not sent again"
# Characters that a repository's name cannot have.
_REFUSED = re.compile(r"[^A-Za-z0-9._-]+|-{2,}|\.{2,}")


@dataclass(frozen=True)
class Target:
    """The repository that is published to; `kind` is model or dataset.

    `made_from` stands for what is published: a repository that was made from something else is not taken for it.
    `private` decides where the repository is new. `existing` allows one that the workflow did not make, or made from
    something else.
    """

    repository: str
    kind: str
    private: bool
    made_from: str
    existing: bool = False


def repository_name(*parts: str) -> str:
    """A name that the hub takes, of parts joined by hyphens."""
    return _REFUSED.sub("-", "-".join(part for part in parts if part)).strip("-.")[:96].rstrip("-.")


def short_name(source: str) -> str:
    """What a dataset or model is called in the name of what is made from it: without owner, folder and suffix."""
    return re.sub(r"\.(jsonl|jsonl\.gz|parquet|gguf)$", "", source.rstrip("/").rpartition("/")[2])


def model_name(model: str) -> str:
    """What a model is called in the name of what is made from it: also without the revision that one on the hub has."""
    reference = references.parse(model)
    on_disk = reference.kind in ("folder", "file")
    return short_name(str(references.locate(reference).absolute()) if on_disk else reference.name)


def made_from(*parts: str) -> str:
    """What stands for the things that something is made from, and does not tell them."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def adapter_names(base_models: Mapping[str, str], lang: str, name: str = "") -> dict[str, str]:
    """The repository's name of each variant's adapter ("" is the language's own), by the base models of all.

    All have the configured `name` in them, where there is one. A variant is named after its base model too, and after
    itself where another adapter has the same. Raises UserError where two would have one repository: the hub does not
    tell capitals from small letters.
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
    """Raise UserError where the configuration does not say whose the repositories are to be."""
    if not namespace:
        raise UserError("publication.namespace is null: set it to your name on the hub, or that of an organisation")


def check_token() -> str:
    """The token of the environment. Raises UserError where there is none, or what cannot be one."""
    if token := hub.check_token():
        return token
    raise UserError("HF_TOKEN is not set: publishing needs a token of the hub there, with the right to write")


def files_of(folder: Path, names: Sequence[str]) -> Files:
    """The files of these names that are in a folder; no other is published, whatever else lies there.

    Raises UserError where there are none, and where one is a link, which may lead to anything, or no plain file.
    """
    files = {name: folder / name for name in sorted(names) if os.path.lexists(folder / name)}
    if not files:
        raise UserError(f"{folder / names[0]}: no such file, nor another that is published; build it first")
    # The folder itself may be on another disk, behind a link. (realpath takes loops of links, too.)
    place = Path(os.path.realpath(folder))
    for name, path in files.items():
        if not path.is_file() or Path(os.path.realpath(path)) != place / name:
            raise UserError(f"{path}: a link, or no plain file, which is not published; put the file itself there")
    return files


def write_list(path: Path, target: Target, files: Files) -> Files:
    """The files with the list of them, which is written to `path`."""
    names = sorted({*files, LIST})
    write_json(path, {"made_by": _MADE_BY, "made_from": target.made_from, "files": names})
    return {**files, LIST: path}


def plan(target: Target, files: Files) -> str:
    """What would be published, for people."""
    sizes = {name: path.stat().st_size for name, path in sorted(files.items())}
    lines = [f"{size:>15,}  {name}" for name, size in sizes.items()]
    visibility = f"{'private' if target.private else 'public'} where it is new"
    first = f"{target.kind} {target.repository} ({visibility}): {len(files)} files, {sum(sizes.values()):,} bytes"
    return "\n".join([first, *lines])


def push(target: Target, files: Files, token: str) -> dict[str, Any]:
    """Publish the files, which have a list of themselves among them; what is there already is not sent again.

    The result says where they are: repository, commit, and the checksum of every file. Raises UserError where the hub
    refuses, and before anything is sent where the repository is public and should not be, or is not ours to change.
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
    """What the hub says of the repository, which is created where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.repo_info(target.repository, repo_type=target.kind)
    except RepositoryNotFoundError:
        api.create_repo(target.repository, repo_type=target.kind, private=target.private, exist_ok=True)
        return api.repo_info(target.repository, repo_type=target.kind)


def _commit(api: Any, target: Target, files: Files) -> str:
    """The commit at which the repository holds these files: a new one, or the last where nothing has changed."""
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
    # Large files take hours, and nobody sees them before the commit.
    _check_visibility(target, api.repo_info(repository, repo_type=kind))
    operations = [*additions, *(CommitOperationDelete(name) for name in gone)]
    # Named after what it was compared with, a commit is refused where another came between.
    message = f"{len(changed)} files of {len(files)} from {_MADE_BY}"
    return api.create_commit(repository, operations, commit_message=message, repo_type=kind, parent_commit=info.sha).oid


def _check_visibility(target: Target, info: Any) -> None:
    """Raise UserError where all the world would see what is to be private."""
    if target.private and not info.private:
        raise UserError(
            f"{target.repository} is public, and publication.private is true: nothing is published; make it private on"
            " its page, or set publication.private to false"
        )


def _listed(api: Any, target: Target, info: Any, there: Mapping[str, Any]) -> list[str]:
    """The files that the workflow published there earlier.

    Raises UserError where the repository is somebody's own, or was made from something else, and neither is allowed.
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
    """The list of what was published; None where it is not ours."""
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
