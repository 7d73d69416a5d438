"""Where a run's files are: the workflow's own in its folder, users' in the working directory first.

The working directory may be another folder than the workflow's: `snakemake --snakefile`, or a module.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mothertongue.common import imports
from mothertongue.common.errors import UserError


@dataclass(frozen=True)
class Places:
    """The places of a run.

    `home` is the path of the workflow's folder, before which nothing or a slash has to stand: see `home_of`. `local`
    marks a path so that neither a module's prefix nor a storage provider moves it: Snakemake's function of that name.
    """

    home: str = ""
    local: Callable[[str], str] = str

    def own(self, path: str) -> str:
        """Return the path of a file of the workflow's own."""
        return self.local(f"{self.home}{path}")

    def found(self, path: str) -> str:
        """Return a path of the working directory, of the workflow's folder where only that has it."""
        inside = Path(f"{self.home}{path}")
        return self.local(str(inside) if not Path(path).exists() and inside.exists() else path)

    def table(self, name: str) -> Path:
        """Return a table of config/."""
        return Path(self.found(f"config/{name}"))

    def folder(self, path: str, pattern: str) -> list[str]:
        """Return the workflow's files that match in a folder, or the user's of the same names."""
        names = sorted(file.name for file in Path(f"{self.home}{path}").glob(pattern))
        return [self.found(f"{path}/{name}") for name in names]

    def library(self, script: str, *more: str, without: tuple[str, ...] = ()) -> list[str]:
        """Return the modules whose change makes a script's output stale: its imports, and `more` modules with theirs.

        `without` names packages and modules that are left out, with what only they import.
        """
        return [*_library(self, (script, *(f"mothertongue/{module}" for module in more)), without)]

    def resolved(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration in which users' paths lead to the workflow's folder where only that has the file.

        The results folder has its shortest form: targets and inputs are compared as text.
        """
        threads = config["threads"]
        return {
            **config,
            "results": os.path.normpath(config["results"]),
            "container": config["container"] and self._file(config["container"], ".sif"),
            "source": self._dataset(config["source"]),
            "sources": {name: self._dataset(keys) for name, keys in config["sources"].items()},
            "threads": {**threads, "prompt_format": self._file(threads["prompt_format"], ".jinja")},
            "tuning": self._fsdp(config["tuning"]),
            "variants": {name: self._fsdp(keys) for name, keys in config["variants"].items()},
            "evaluation": {
                **config["evaluation"],
                "harness": [self._file(task, ".yaml", ".yml") for task in config["evaluation"]["harness"]],
            },
        }

    @staticmethod
    def check_results(prefix: str, results: str) -> None:
        """Raise UserError where a module's prefix cannot stand before the results folder."""
        if prefix and (results.startswith("..") or Path(results).is_absolute()):
            raise UserError(f"results: {results} cannot stand below the module's prefix {prefix}; give one of the two")

    def _dataset(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        dataset = keys["dataset"]
        if isinstance(dataset, dict):
            return {**keys, "dataset": {split: str(self.found(path)) for split, path in dataset.items()}}
        return {**keys, "dataset": str(self.found(dataset))}

    def _fsdp(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        return {**keys, "fsdp": str(self.found(keys["fsdp"]))} if keys.get("fsdp") else {**keys}

    def _file(self, name: str, *suffixes: str) -> str:
        return str(self.found(name)) if name.endswith(suffixes) else name


@cache
def _library(places: Places, entries: tuple[str, ...], without: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modules of `Places.library`, which hundreds of jobs ask for."""
    scripts = Path(f"{places.home}scripts")
    modules = {module for entry in entries for module in imports.modules(entry, scripts, without)}
    return tuple(places.local(module) for module in sorted(modules))


def home_of(folder: Path, place: Path) -> str:
    """Return what stands before the paths of the workflow's files in `folder`, seen from the working directory.

    Nothing in the workflow's own folder; a relative path above it, so that both can be moved together; else the whole
    path. Jobs are stale where it changes.
    """
    if not folder.is_relative_to(place):
        return f"{folder}/"
    return "" if folder == place else f"{folder.relative_to(place)}/"
