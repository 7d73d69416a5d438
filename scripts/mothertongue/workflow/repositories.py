"""The repositories on the hub for what is published."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.models import references
from mothertongue.publication import upload
from mothertongue.workflow.adapters import Adapters
from mothertongue.workflow.rule_helpers import Wildcards, checked, in_one_line, local_model_files
from mothertongue.workflow.sources import Source, Sources


class Repositories:
    """The repositories of a configuration, for datasets, threads, preferences and adapters."""

    def __init__(self, config: Mapping[str, Any], adapters: Adapters, sources: Sources) -> None:
        self.publication, self.adapters = config["publication"], adapters
        # Local paths in full, so that two files of one name do not share a repository.
        self.sources = [name for source in sources for name in _full_names(source)]
        first = next(iter(sources))
        named = upload.short_name(next(iter(self.sources), first.dataset_name))
        self.source_name = self.publication["name"] or "-".join([named, *(source.name for source in [*sources][1:])])

    @in_one_line
    def check(self, wildcards: Wildcards, runs_jobs: bool) -> None:
        """Raise UserError for what cannot be published, before anything is built for it."""
        if wildcards.variant and wildcards.kind != "adapter":
            raise UserError(
                f"{wildcards.variant}published: a variant has an adapter of its own, and no {wildcards.kind}"
            )
        self.adapters.of_variant(wildcards)
        upload.check_namespace(self.publication["namespace"])
        if runs_jobs:
            upload.check_token()

    def dataset(self, wildcards: Wildcards) -> str:
        """Return the repository of the dataset."""
        name = upload.repository_name(self.source_name)[:64] or "messages"
        return f"{self.publication['namespace']}/{name}_{wildcards.lang}"

    def name(self, wildcards: Wildcards) -> str:
        """Return the repository of a dataset, its threads, its preferences or an adapter."""
        if wildcards.kind == "adapter":
            bases = {Path(folder).name: settings["base_model"] for folder, settings in self.adapters.by_folder.items()}
            names = checked(upload.adapter_names, bases, wildcards.lang, self.publication["name"] or "")
            return f"{self.publication['namespace']}/{names[Path(wildcards.variant).name]}"
        return self.dataset(wildcards) + ("" if wildcards.kind == "dataset" else f"_{wildcards.kind}")

    @in_one_line
    def made_from(self, wildcards: Wildcards) -> str:
        """Return the data and model that it is made from, so that two of one name do not share a repository."""
        sources = self.sources
        if wildcards.kind == "adapter":
            model = self.adapters.of_variant(wildcards)["base_model"]
            local = local_model_files(model)
            place = os.path.abspath(Path(model).expanduser())  # noqa: PTH100 (links stay)
            sources = [*sources, place if local else references.parse(model).name, Path(wildcards.variant).name]
        return "|".join(sources)

    def beside(self, wildcards: Wildcards, results: str) -> list[str]:
        """Return options for the dataset behind it (card, repository; empty for a dataset) and for an evaluation.

        `results` is the results folder on disk.
        """
        folder = f"{results}/{wildcards.lang}"
        options = [f"--dataset-card={folder}/dataset/README.md", f"--dataset-repo={self.dataset(wildcards)}"]
        if wildcards.kind == "adapter":
            options.append(f"--evaluation={folder}/{wildcards.variant}evaluation")
        return [] if wildcards.kind == "dataset" else options


def _full_names(source: Source) -> list[str]:
    """Return the absolute local paths of a source, or its dataset's id on the hub."""
    paths = [os.path.abspath(Path(path).expanduser()) for path in source.paths]  # noqa: PTH100 (links stay)
    return paths or [source.dataset_name]
