"""The source datasets of a configuration: one (`source`), or several by name (`sources`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.settings import as_arguments
from mothertongue.source import dataset_reference
from mothertongue.source.settings import FetchSettings, FormatSettings, LimitSettings
from mothertongue.workflow.settings import OF_ONE_DATASET


@dataclass(frozen=True)
class Source:
    """A dataset by its keys of the configuration; `name` is empty for the only one, that of `source`."""

    name: str
    keys: Mapping[str, Any]

    @property
    def prefix(self) -> str:
        """The folder of its files below those of all sources; empty for the only one."""
        return f"{self.name}/" if self.name else ""

    @property
    def key(self) -> str:
        """Its place in the configuration, for messages."""
        return f"sources.{self.name}" if self.name else "source"

    @property
    def shards(self) -> dict[str, int]:
        """The number of shards of each of its languages."""
        return {language: self.keys["shards"].get(language, 1) for language in self.keys["languages"]}

    @property
    def shard_names(self) -> list[str]:
        """The paths of its shards below the folder of all shards, without suffix."""
        return [f"{self.prefix}{language}/{shard}" for language, count in self.shards.items() for shard in range(count)]

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """Its local files by split; none for a dataset on the hub. Raise UserError where one does not exist."""
        files = dataset_reference.local_files(self._dataset())
        dataset_reference.check_exist(files)
        return files

    @property
    def paths(self) -> list[str]:
        """The local files and folders as configured; none for a dataset on the hub."""
        dataset = self.keys["dataset"]
        if not self.files:
            return []
        return [dataset] if isinstance(dataset, str) else [dataset[split] for split in ("train", "validation")]

    @property
    def dataset_name(self) -> str:
        """The dataset's name for cards: its id on the hub, or the names of its files."""
        return ", ".join(Path(path).name for path in self.paths) or str(self.keys["dataset"])

    def fetch_arguments(self) -> list[str]:
        """Return what scripts/fetch.py is to read, and where in it, as its arguments.

        Raise UserError where keys of a dataset on the hub are set for files, or one on the hub has no revision.
        """
        configuration, split, local = self.keys["configuration"], self.keys["split"], bool(self.files)
        if local and (key := "configuration" if configuration else "split" if split else ""):
            raise UserError(
                f"{self.key}.{key} is of datasets on the hub, and {self.key}.dataset is of files; remove it"
            )
        if not local and not self.keys["revision"]:
            raise UserError(f"{self.key}.revision: name the commit of {self.keys['dataset']}, as its page lists them")
        splits = split if isinstance(split, dict) else {"train": split} if split else {}
        options = {
            "--dataset": self._dataset(),
            "--revision": [] if local else [self.keys["revision"]],
            "--configuration": [configuration] if configuration else [],
            "--split": [f"{name}={value}" for name, value in splits.items()],
            "--columns": [f"{what}={column or ''}" for what, column in self.keys["columns"].items()],
            "--name": [self.name] if self.name else [],
        }
        given = [f"{option}={value}" for option, values in options.items() for value in values]
        return given + [
            argument
            for settings in (FormatSettings, FetchSettings, LimitSettings)
            for argument in as_arguments(settings, self.keys)
        ]

    def _dataset(self) -> list[str]:
        """Return the dataset as arguments: one name, or train=PATH and validation=PATH."""
        dataset = self.keys["dataset"]
        if isinstance(dataset, str):
            return [dataset]
        return [f"{split}={dataset[split]}" for split in ("train", "validation")]


class Sources:
    """The sources of a configuration, in its order."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        named = config["sources"]
        shared = {key: value for key, value in config["source"].items() if key not in OF_ONE_DATASET}
        own = [Source(name, {**OF_ONE_DATASET, **shared, **keys}) for name, keys in named.items()]
        self.by_name = {source.name: source for source in own or [Source("", config["source"])]}

    def __iter__(self) -> Iterator[Source]:
        return iter(self.by_name.values())

    def of(self, wildcards: Any) -> Source:
        """Return the source of a job; the wildcard is its prefix."""
        return self.by_name[wildcards.origin.removesuffix("/")]

    @property
    def shard_names(self) -> list[str]:
        """The paths of all shards below their folder, without suffix."""
        return [name for source in self for name in source.shard_names]

    @property
    def languages(self) -> list[str]:
        """The languages of all sources, each once."""
        return list(dict.fromkeys(language for source in self for language in source.shards))

    @property
    def licences(self) -> list[str]:
        """The licences of the datasets, in their order; empty where one is not stated."""
        return [source.keys["licence"] for source in self]

    @property
    def dataset_names(self) -> list[str]:
        """The names of the datasets, in their order."""
        return [source.dataset_name for source in self]

    def check_taught(self) -> None:
        """Raise UserError where a teacher would be asked for replies that no thread uses."""
        for source in self:
            if (scope := source.keys["scope"]) != "threads":
                raise UserError(
                    f"answers: teacher asks for the replies that threads use alone, and {source.key}.scope is {scope}; "
                    f"set {source.key}.scope to threads"
                )

    def check_scope(self) -> None:
        """Raise UserError where preferences need replies that the scope of a source leaves out."""
        for source in self:
            if (scope := source.keys["scope"]) != "all":
                raise UserError(
                    f"preferences compare replies that {source.key}.scope: {scope} does not translate; set "
                    f"{source.key}.scope to all"
                )
