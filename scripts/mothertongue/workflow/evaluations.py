"""The evaluations of adapters: their inputs and options, and those that exist."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mothertongue.common.errors import UserError
from mothertongue.common.settings import as_arguments
from mothertongue.evaluation import benchmarks
from mothertongue.evaluation.settings import EvaluationSettings, QuantizationSettings, ServerSettings
from mothertongue.workflow.adapters import Adapters
from mothertongue.workflow.places import Places
from mothertongue.workflow.rule_helpers import Wildcards, given, in_one_line, usable

# The folders of a language that may contain evaluations.
_FOLDERS = ("", "sft", "variants/*", "variants/*/sft")


class Evaluations:
    """The evaluations of a configuration.

    Raises UserError where training is to be kept from benchmarks, of none, and where settings do not fit the engine.
    """

    def __init__(self, config: Mapping[str, Any], places: Places, adapters: Adapters) -> None:
        self.evaluation, self.contamination = config["evaluation"], config["contamination"]
        self.places, self.adapters = places, adapters
        given = self.evaluation
        ServerSettings(given["engine"], given["program"], given["server_options"])
        wanted = self.evaluation["benchmarks"] or self.evaluation["harness"]
        self.benchmarks = benchmarks.read(places.table) if wanted else []
        if self.contamination["benchmarks"] and not wanted:
            raise UserError(
                "contamination.benchmarks is of benchmarks that are measured; set evaluation.benchmarks: auto"
            )

    def options(self, wildcards: Wildcards) -> list[str]:
        """Return the evaluation's settings as arguments of scripts/evaluate.py."""
        groups = (EvaluationSettings, QuantizationSettings, ServerSettings)
        return [option for group in groups for option in as_arguments(group, self.evaluation)]

    @in_one_line
    def ggufs(self, wildcards: Wildcards) -> list[str]:
        """Return the exported base model and adapter by which llama.cpp answers; empty for other engines."""
        if self.evaluation["engine"] != "llama_cpp":
            return []
        if self.adapters.of_variant(wildcards)["method"] == "dpo":
            raise UserError(
                "evaluation.engine: llama_cpp answers for one adapter, and tuning.method dpo compares two; take vllm, "
                "or transformers"
            )
        folder = f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}export"
        return [f"{folder}/base/{self.evaluation['gguf']}.gguf", f"{folder}/adapter.gguf"]

    def gguf_options(self, wildcards: Wildcards, input: Any) -> list[str]:
        """Return llama.cpp's files as arguments of scripts/evaluate.py; empty for other engines."""
        names = ("--gguf", "--adapter-gguf")
        return [f"{name}={path}" for name, path in zip(names, input.ggufs, strict=False)]

    def prompts(self, wildcards: Wildcards) -> list[str]:
        """Return the held-out prompts of the language; without them the validation threads' questions are used."""
        path = self.places.found(f"config/prompts/{wildcards.lang}.txt")
        return [path] if Path(path).is_file() else []

    def held_out(self, wildcards: Wildcards) -> list[str]:
        """Return the validation split, whose questions training must not hold; empty for itself, and if not wanted."""
        if not self._is_training(wildcards) or not self.contamination["prompts"]:
            return []
        return [f"{wildcards.results}/{wildcards.lang}/dataset/validation.parquet"]

    def prompts_kept_out(self, wildcards: Wildcards) -> list[str]:
        """Return the held-out prompts that training must not hold; empty if not wanted."""
        return self.prompts(wildcards) if self.held_out(wildcards) else []

    def benchmarks_kept_out(self, wildcards: Wildcards) -> list[str]:
        """Return the data of the language's benchmarks, whose questions training must not hold; empty if not wanted."""
        wanted = self._is_training(wildcards) and self.contamination["benchmarks"] and self.tasks_of(wildcards.lang)
        return [f"{wildcards.results}/source/benchmarks/{wildcards.lang}"] if wanted else []

    @staticmethod
    def _is_training(wildcards: Wildcards) -> bool:
        """Return whether a job makes data for training: a mix has no other split."""
        return getattr(wildcards, "split", "train") == "train"

    def kept_out(self, wildcards: Wildcards, input: Any) -> list[str]:
        """Return what training must not hold as arguments of scripts/threads.py and preferences.py."""
        names = ("held_out", "prompts", "benchmarks")
        return [f"--{name.replace('_', '-')}={path}" for name in names for path in getattr(input, name)]

    @in_one_line
    def tasks(self, wildcards: Wildcards) -> list[str]:
        """Return the harness's tasks for a language as arguments. Raise UserError where there is none."""
        found = self.tasks_of(wildcards.lang)
        if not found:
            raise UserError(
                "evaluation.harness names no task; set it to a list such as [belebele_nld_Latn], or set "
                f"evaluation.benchmarks to auto where config/benchmark_tasks.tsv has some in '{wildcards.lang}'"
            )
        return given("--tasks", found)

    def known(self, wildcards: Wildcards) -> list[str]:
        """Return language and origin of the tasks that the tables have, as arguments."""
        own = {benchmark.task: benchmark for benchmark in self.benchmarks}
        own |= {benchmark.task: benchmark for benchmark in self.benchmarks if benchmark.language == wildcards.lang}
        found = [own[task] for task in self.tasks_of(wildcards.lang) if task in own]
        return given("--known", [f"{one.task}={one.language}:{one.origin}" for one in found])

    @in_one_line
    def task_files(self, wildcards: Wildcards) -> list[str]:
        """Return the harness's tasks that are the user's own files, which make the results stale when edited.

        With them, the files that they name.
        """
        own = [Path(task) for task in self.evaluation["harness"] if task.endswith((".yaml", ".yml"))]
        files = dict.fromkeys(file for task in own for file in _with_named(task))
        return [self.places.local(path) for path in usable(*files)]

    def harness_results(self, wildcards: Wildcards) -> list[str]:
        """Return the harness's results for the report; empty where no tasks are configured."""
        folder = f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}{wildcards.stage}evaluation"
        return [f"{folder}/harness.json"] if self.tasks_of(wildcards.lang) else []

    def tasks_of(self, lang: str) -> list[str]:
        """Return the harness's tasks for a language; empty where none are configured."""
        own = benchmarks.chosen(self.benchmarks, lang) if self.evaluation["benchmarks"] else []
        return list(dict.fromkeys([*self.evaluation["harness"], *(benchmark.task for benchmark in own)]))


def _with_named(task: Path) -> list[Path]:
    """Return a task's file, the files that it includes, and the modules of its functions, and of those files the same.

    What is not there, or cannot be read, is left to the harness to report.
    """
    files = [task]
    for file in files:
        if file.suffix == ".py":
            continue
        try:
            root = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        for name in _named(root):
            # As the harness looks for them.
            found = Path(name) if Path(name).is_file() else file.parent / name
            if found.is_file() and found not in files:
                files.append(found)
    return files


def _named(node: Any) -> Iterator[str]:
    """Yield the files that a node of a task's YAML, or a node in it, includes, and those of its functions."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "include":
                yield from (one.value for one in [value, *value.value] if isinstance(one, yaml.ScalarNode))
            yield from _named(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _named(value)
    elif isinstance(node, yaml.ScalarNode) and node.tag == "!function":
        yield f"{node.value.rpartition('.')[0]}.py"


def built(results: str, languages: Iterable[str]) -> dict[str, list[str]]:
    """Return the evaluations that exist when Snakemake starts, and the files that the summary shows beside them.

    Their paths have a form that no rule's output has: the summary shows what exists, and builds nothing else.
    """
    found = [
        (Path(results, lang), evaluation.parents[1])
        for lang in languages
        for folder in _FOLDERS
        for evaluation in sorted(Path(results, lang).glob(str(Path(folder, "evaluation/metrics.json"))))
    ]
    beside = [own / name for _, own in found for name in ("adapter/training.json", "report.html")]
    beside += [
        lang / name for lang, _ in found for name in ("dataset/accounting.json", "threads/train.accounting.json")
    ]
    path = os.path.relpath if Path(results).is_absolute() else os.path.abspath
    return {
        "metrics": [path(own / "evaluation/metrics.json") for _, own in found],
        "beside": sorted({path(file) for file in beside if file.is_file()}),
    }
