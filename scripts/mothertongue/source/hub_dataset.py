"""A dataset on the hub: the files of its splits, without running code of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.progress import first
from mothertongue.formats.messages import SPLITS
from mothertongue.models import hub
from mothertongue.source.dataset_reference import KINDS, SUFFIXES

_ADVICE = "; without a network, fetch it elsewhere and name its files"


def download(
    dataset: str, revision: str | None, configuration: str | None, splits: Mapping[str, str], folder: Path
) -> tuple[str, dict[str, list[str]]]:
    """Download a dataset from the hub into `folder`; return its commit, and the names of the files of each split.

    `configuration` is one of the dataset's own, and `splits` names those that are train and validation here; without,
    they are its own of these names, as far as they are there. Raise UserError where it cannot be downloaded, and where
    it has loading scripts, files from elsewhere, or no such configuration or split.
    """
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi

    with hub.errors(f"fetch the dataset '{dataset}' from the hub", "dataset", _ADVICE):
        api = HfApi()
        info = hub.with_retries(lambda: api.dataset_info(dataset, revision=revision, files_metadata=True))
        _check_repository(dataset, info)
        cache = str(folder / ".cache" / "datasets")
        try:
            builder = hub.with_retries(
                lambda: load_dataset_builder(dataset, configuration, revision=info.sha, cache_dir=cache)
            )
        except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:  # unknown formats
            raise _not_understood(dataset, str(error) or type(error).__name__) from None
        here = f"hf://datasets/{dataset}@{info.sha}/"
        found: dict[str, list[str]] = {}
        for split, urls in (builder.config.data_files or {}).items():
            if elsewhere := [url for url in urls if not url.startswith(here)]:
                raise _elsewhere(dataset, elsewhere[0])
            found[str(split)] = [url.removeprefix(here) for url in urls]
        wanted = dict(splits) or {split: split for split in SPLITS if split in found or split == "train"}
        if missing := [name for name in wanted.values() if name not in found]:
            raise UserError(f"{dataset}: no {missing[0]} split; name one by source.split (it has {first(list(found))})")
        files = {split: found[name] for split, name in wanted.items()}
        names = [name for split in files.values() for name in split]
        if unknown := [name for name in names if not name.endswith(SUFFIXES)]:
            raise UserError(f"{dataset}: {unknown[0]}: unknown kind of file (expected {KINDS})")
        hub.download(dataset, info, folder, "dataset", names)
    return str(info.sha), files


@contextmanager
def named(name: str, folder: Path) -> Iterator[None]:
    """Give errors the dataset's name in the place of the folder that its files are in."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(f"{folder}/", f"{name}: ")) from None


def _not_understood(dataset: str, reason: str) -> UserError:
    """Return the error for a dataset that the hub's library cannot lay out; it has the configurations to choose of."""
    line = next(iter(reason.splitlines()))
    if line.startswith(("Config name is missing", "BuilderConfig")) and "[" in reason:
        names = reason[reason.index("[") + 1 :].partition("]")[0].replace("'", "")
        return UserError(f"{dataset}: name one of its configurations by source.configuration: {names}")
    return UserError(f"{dataset}: its files are not understood ({line})")


def _check_repository(dataset: str, info: Any) -> None:
    """Raise UserError where a dataset has a loading script, or its card names files outside its repository."""
    scripts = [file.rfilename for file in info.siblings or [] if file.rfilename == f"{dataset.partition('/')[2]}.py"]
    if scripts:
        raise UserError(
            f"{dataset}: it is loaded by a program of its own ({scripts[0]}), which is never run; name its files, or a "
            "dataset that has .jsonl, .jsonl.gz or .parquet files"
        )
    configurations = (info.card_data or {}).get("configs")
    for configuration in configurations if isinstance(configurations, list) else ():
        for name in _texts(configuration):
            if "://" in name or ".." in Path(name).parts or name.startswith("/"):
                raise _elsewhere(dataset, name)


def _elsewhere(dataset: str, name: str) -> UserError:
    return UserError(f"{dataset}: its card names a file that is not its own ({name!r}); fetch that, and name the file")


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in a parsed YAML header."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
