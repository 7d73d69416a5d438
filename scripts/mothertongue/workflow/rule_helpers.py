"""Helpers for the rules of all stages: checks that end Snakemake with one line, options, resources, model folders."""

import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from mothertongue.common import plain_text
from mothertongue.common.errors import UserError
from mothertongue.models import references

T = TypeVar("T")
# Snakemake's own object; the library does not import Snakemake.
Wildcards = Any
SPLITS = ("train", "validation")
# What there is of a language: the beginnings of the paths in its folder; a regular expression.
KINDS = (
    "dataset|threads|preferences|adapter|translated|answered|evaluation|report|review|published|export|variants|mix|sft"
)
# Packages and modules whose change cannot alter what takes hours or comes from the hub: cards are written beside the
# result, the values of settings are arguments, and files from the hub are compared with its checksums.
CHANGE_NO_RESULT = ("cards", "hub", "settings", "inspection")


def checked(check: Callable[..., T], *arguments: Any) -> T:
    """Return the result of a check of user input; on a UserError end Snakemake with its one line."""
    try:
        return check(*arguments)
    except UserError as error:
        sys.exit(plain_text.one_line(f"error: {error}"))


def in_one_line(function: Callable[..., T]) -> Callable[..., T]:
    """Decorate a function of wildcards: its UserError ends Snakemake with its one line, without a traceback."""

    @functools.wraps(function)
    def safe(*arguments: Any) -> T:
        return checked(function, *arguments)

    return safe


def usable(*paths: str | Path) -> list[str]:
    """Return a user's paths that become inputs. Raise UserError for one that Snakemake would read as a pattern."""
    for path in map(str, paths):
        if re.search(r"[{}<>\n]", path) or plain_text.visible(path) != path:
            raise UserError(f"the path {path!r}: Snakemake takes no {{}}, <> or control characters in it; rename it")
    return list(map(str, paths))


def checksum_of(path: Path) -> str:
    """Return the SHA-256 of a user's file; empty where there is none. Raise UserError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def literal(value: T) -> Callable[[Wildcards], T]:
    """Return a function for `params` that gives a user's text, in which Snakemake would read braces as wildcards."""
    return lambda wildcards: value


def given(option: str, values: Iterable[Any]) -> list[str]:
    """Return an option for each value: `--x=value` also works for values that are empty or look like an option."""
    return [f"{option}={value}" for value in values]


def double_on_retry(amount: int) -> Callable[[Wildcards, int], int]:
    """Return a resource that doubles when a job is retried: it may have had too little."""
    return lambda wildcards, attempt: amount * min(attempt, 2)


def check_on_disk(storage: str | None) -> None:
    """Raise UserError where results are in a storage, for what lists those that exist."""
    if storage:
        raise UserError(f"summary.html lists the evaluations on this machine, and results are in a storage ({storage})")


def check_folder_of(targets: Iterable[str], results: str, languages: Iterable[str]) -> None:
    """Raise UserError for a target of a language that is not in the results folder itself."""
    for target in map(os.path.normpath, targets):
        inside = target.removeprefix(f"{results}/")
        if inside == target or inside.partition("/")[0] not in languages:
            raise UserError(
                f"target {target}: everything is built in the configuration's `results`, which is {results}; targets "
                "begin with it"
            )


@functools.cache
def model_folder(reference: str, kind: str) -> str:
    """Return the folder that a rule fetch_... writes for a model of a kind: translation, meaning, base or templates."""
    return f"{{results}}/models/{kind}/{references.parse(reference).slug}"


def local_model_files(reference: str) -> list[str]:
    """Return the files of a model in a local folder or file, which make the fetched copy stale when edited."""
    return checked(usable, *checked(references.local_files, references.parse(reference)))


def chat_template_files(reference: str) -> list[str]:
    """Return a local model's files without weights, or its one file: editing them makes its chat template stale."""
    return [path for path in local_model_files(reference) if not path.endswith((".safetensors", ".bin"))]


def check_folders(owners: Iterable[tuple[str, str]]) -> None:
    """Raise UserError where a model reference is invalid, or two models would share a folder.

    `owners` are pairs of what fetches a model (an engine, or `tuning`) and the model.
    """
    slugs: dict[str, tuple[str, str]] = {}
    for owner, model in owners:
        slug = references.parse(model).slug
        if slugs.setdefault(slug, (owner, model)) != (owner, model):
            raise UserError(f"models {slugs[slug][1]} ({slugs[slug][0]}) and {model} ({owner}) would share a folder")
