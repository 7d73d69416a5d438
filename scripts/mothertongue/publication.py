"""Publication: a folder of files becomes a repository on the hub, in one commit and only where something changed."""

import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from mothertongue import hub
from mothertongue.errors import UserError
from mothertongue.files import sha256
from mothertongue.progress import say

Files = dict[str, Path]
# Hidden files (Snakemake's time stamps, unfinished ones), checkpoints, logs, and DPO's frozen copy of an adapter.
_LEFT_OUT = re.compile(r"(\..*|checkpoint-\d+|.*\.checkpoints|.*\.tensorboard|.*tfevents.*|.*\.log|logs|runs|ref)")
# The hub makes it, and needs it.
_HUBS_OWN = ".gitattributes"
_ADVICE = "; publish again later: what has been sent is not sent again"
# Characters that a repository's name cannot have.
_REFUSED = re.compile(r"[^A-Za-z0-9._-]+|-{2,}|\.{2,}")


def repository_name(*parts: str) -> str:
    """A name that the hub takes, of parts joined by hyphens."""
    return _REFUSED.sub("-", "-".join(part for part in parts if part)).strip("-.")[:96].rstrip("-.")


def short_name(source: str) -> str:
    """What a dataset or model is called in the name of what is made from it: without owner, folder and suffix."""
    name = source.partition("@")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"\.(jsonl|jsonl\.gz|parquet|gguf)$", "", name)


def adapter_names(base_models: Mapping[str, str], lang: str) -> dict[str, str]:
    """The repository's name of each variant's adapter ("" is the language's own), by the base models of all.

    A variant is named after its base model too, and after itself where another adapter has the same. Raises UserError
    where two would have one repository: the hub does not tell capitals from small letters.
    """
    plain = {variant: repository_name(short_name(model), lang) for variant, model in base_models.items()}
    taken = [name.lower() for name in plain.values()]
    names: dict[str, str] = {}
    for variant, name in plain.items():
        shared = variant and taken.count(name.lower()) > 1
        names[variant] = repository_name(short_name(base_models[variant]), lang, variant) if shared else name
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


def files_of(folder: Path) -> Files:
    """The files of a folder that are published, by their name in the repository.

    Raises UserError where there are none.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: folder / name for name in names if not any(map(_LEFT_OUT.fullmatch, name.split("/")))}
    if not files:
        raise UserError(f"{folder}: nothing in it to publish; build it first")
    return files


def plan(repository: str, kind: str, private: bool, files: Files) -> str:
    """What would be published, for people."""
    sizes = {name: path.stat().st_size for name, path in sorted(files.items())}
    lines = [f"{size:>15,}  {name}" for name, size in sizes.items()]
    visibility = "private" if private else "public"
    first = f"{kind} {repository} ({visibility} where it is new): {len(files)} files, {sum(sizes.values()):,} bytes"
    return "\n".join([first, *lines])


def push(repository: str, kind: str, private: bool, files: Files, token: str) -> dict[str, Any]:
    """Make a repository hold these files and no others; what is there already is not sent again.

    The result says where they are: repository, commit, and the checksum of every file. `private` counts where the
    repository is new. Raises UserError where the hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with hub.errors(f"publish to {repository} on the hub", kind, _ADVICE):
        there = hub.patiently(lambda: _find_or_create(api, repository, kind, private))
        commit = hub.patiently(lambda: _commit(api, repository, kind, files))
    if there.private != private:
        is_now, wanted = ("private", "public") if there.private else ("public", "private")
        say(f"{repository} is {is_now} and stays so: publication.private ({wanted}) counts where a repository is new")
    say(f"{repository}: {'nothing has changed, no commit' if commit == there.sha else f'commit {commit}'}")
    return {
        "repo": repository,
        "type": kind,
        "url": f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repository}",
        "commit": commit,
        "private": there.private,
        "files": {name: sha256(path) for name, path in sorted(files.items())},
    }


def _find_or_create(api: Any, repository: str, kind: str, private: bool) -> Any:
    """What the hub says of the repository, which is created where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.repo_info(repository, repo_type=kind)
    except RepositoryNotFoundError:
        api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        return api.repo_info(repository, repo_type=kind)


def _commit(api: Any, repository: str, kind: str, files: Files) -> str:
    """The commit at which the repository holds these files: a new one, or the last where nothing has changed."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    info = api.repo_info(repository, repo_type=kind, files_metadata=True)
    there = {file.rfilename: file for file in info.siblings if file.rfilename != _HUBS_OWN}
    changed = [name for name, path in files.items() if name not in there or _differs(path, there[name])]
    operations = [CommitOperationAdd(name, files[name]) for name in changed]
    gone = [name for name in there if name not in files]
    operations += [CommitOperationDelete(name) for name in gone]
    if gone:
        say(f"{repository}: not in what is published, and deleted there: {', '.join(gone)}")
    if not operations:
        return info.sha
    # Named after what it was compared with, a commit is refused where another came between.
    message = f"{len(changed)} files of {len(files)} from Mothertongue"
    return api.create_commit(repository, operations, commit_message=message, repo_type=kind, parent_commit=info.sha).oid


def _differs(path: Path, file: Any) -> bool:
    return path.stat().st_size != file.size or hub.checksum(path, file.lfs) != hub.recorded_checksum(file)
