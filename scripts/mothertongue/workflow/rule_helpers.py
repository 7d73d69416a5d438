"""What the rules of all stages share: checks that end Snakemake in one line, options, resources, folders of models."""

import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mothertongue.common import plain_text
from mothertongue.common.errors import UserError
from mothertongue.models import references
from mothertongue.workflow import library as imports

T = TypeVar("T")
# Snakemake's own object; the library does not import Snakemake.
Wildcards = Any
SPLITS = ("train", "validation")
# What cannot change a result that takes hours: the card beside it, and how settings are declared, whose values are
# arguments.
WORDING = ("cards", "settings")


def checked(check: Callable[..., T], *arguments: Any) -> T:
    """Return the result of a check of what the user gave; a UserError ends Snakemake with its one line."""
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
    """Return a user's paths that become inputs. Raises UserError for one that Snakemake would read as a pattern."""
    for path in map(str, paths):
        if re.search(r"[{}<>\n]", path) or plain_text.visible(path) != path:
            raise UserError(f"the path {path!r}: Snakemake takes no {{}}, <> or control characters in it; rename it")
    return list(map(str, paths))


def literal(value: T) -> Callable[[Wildcards], T]:
    """Return a value of `params` that holds text of the user's, in which Snakemake reads no braces as wildcards."""
    return lambda wildcards: value


def given(option: str, values: Iterable[Any]) -> list[str]:
    """Return an option for each value: `--x=value` also where the value is empty or looks like an option."""
    return [f"{option}={value}" for value in values]


def double_on_retry(amount: int) -> Callable[[Wildcards, int], int]:
    """Return a resource that doubles when a job is tried again: it may have had too little of it."""
    return lambda wildcards, attempt: amount * min(attempt, 2)


def library(script: str, *more: str, without: tuple[str, ...] = ()) -> list[str]:
    """Return the modules whose change makes a script's output stale: its imports, and `more` modules with theirs."""
    entries = [script, *(f"mothertongue/{module}" for module in more)]
    return sorted({module for entry in entries for module in imports.modules(entry, without=without)})


def filled(path: str, wildcards: Mapping[str, str]) -> str:
    """Return a path with its wildcards filled in."""
    return path.format(**wildcards)


@functools.cache
def model_folder(reference: str, kind: str) -> str:
    """Return where fetch_translation_model, fetch_base_model or fetch_chat_template puts what it fetches of a model."""
    return f"{{results}}/models/{kind}/{references.parse(reference).slug}"


def local_model_files(reference: str) -> list[str]:
    """Return the files of a model in a local folder or file, whose edit makes the fetched copy stale."""
    return checked(usable, *checked(references.local_files, references.parse(reference)))


def chat_template_files(reference: str) -> list[str]:
    """Return the small files of a local model, whose edit makes its chat template stale; or its one file."""
    return [path for path in local_model_files(reference) if not path.endswith((".safetensors", ".bin"))]


def check_folders(owners: Iterable[tuple[str, str]]) -> None:
    """Raise UserError where a model reference is bad, or two models would share a folder.

    `owners` are models with what fetches them: an engine, or `tuning`.
    """
    slugs: dict[str, tuple[str, str]] = {}
    for owner, model in owners:
        slug = references.parse(model).slug
        if slugs.setdefault(slug, (owner, model)) != (owner, model):
            raise UserError(f"models {slugs[slug][1]} ({slugs[slug][0]}) and {model} ({owner}) would share a folder")
