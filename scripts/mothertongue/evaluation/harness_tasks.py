"""Tasks of the lm-evaluation-harness, found by name or file, with their data.

The harness: Gao et al., "A framework for few-shot language model evaluation", doi:10.5281/zenodo.5371628.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

import mothertongue
from mothertongue.common.errors import UserError
from mothertongue.evaluation import task_data
from mothertongue.evaluation.task_data import Fetch, Fetched


@dataclass(frozen=True)
class Tasks:
    """The names of tasks, and the harness's TaskManager that loads them; their data come from `data`."""

    names: list[str]
    manager: Any
    data: Fetch | Fetched

    @cached_property
    def loaded(self) -> Mapping[str, Any]:
        """The harness's `tasks`, `groups` and `group_map`. Raise UserError where the data are not there."""
        try:
            with task_data.reading(self.data):
                return self.manager.load(self.names)
        except ValueError as error:
            if not str(error).startswith("Duplicate"):
                raise
            raise UserError(f"evaluation.harness: {error}; name the group or its parts, not both") from None

    def by_template(self) -> dict[bool, list[Any]]:
        """Return the loaded tasks and groups, by whether they ask for the chat template."""
        tasks, groups = self.loaded["tasks"], self.loaded["groups"]
        # A tag is a list of tasks under a name of its own.
        tagged = [name for tag in self.names for name, task in tasks.items() if tag in _tags(task)]
        named = [name for name in self.names if name in groups or name in tasks]
        found: dict[bool, list[Any]] = {}
        for name in dict.fromkeys([*named, *tagged]):
            leaves = [tasks[leaf] for leaf in leaves_of(name, self.loaded["group_map"]) if leaf in tasks]
            chat = any((leaf.config.metadata or {}).get("chat_template") is True for leaf in leaves)
            found.setdefault(chat, []).append(groups.get(name) or tasks[name])
        return found


def version() -> str:
    """Return the harness's version."""
    return metadata.version("lm_eval")


def check_installed() -> None:
    """Raise UserError where the harness is not installed."""
    if find_spec("lm_eval") is None:
        raise UserError(
            "the lm-evaluation-harness is not installed: use --sdm conda, or pip install what envs/harness.yaml has"
        )


def find_tasks(given: Sequence[str], data: Fetch | Fetched) -> Tasks:
    """Find tasks by name or by the path of a YAML file. Raise UserError with the name of an unknown task."""
    check_installed()
    _put_scripts_last()
    from lm_eval.tasks import TaskManager

    files = {entry: Path(entry) for entry in given if entry.endswith((".yaml", ".yml"))}
    manager = TaskManager(include_path=[str(path.parent.resolve()) for path in files.values()] or None)
    names = [_name(files[entry]) if entry in files else entry for entry in given]
    for name in names:
        if name not in manager.all_tasks:
            raise UserError(f"evaluation.harness: there is no task '{name}'; `lm_eval ls tasks` lists them all")
    return Tasks(names, manager, data)


def leaves_of(name: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the tasks of a group, or the task itself."""
    if name not in groups:
        return [name]
    return [leaf for child in groups[name] for leaf in leaves_of(child, groups)]


def _tags(task: Any) -> list[str]:
    tags = getattr(task.config, "tag", None) or []
    return [tags] if isinstance(tags, str) else tags


def _put_scripts_last() -> None:
    """Move scripts/ to the end of sys.path: its evaluate.py would shadow the package `evaluate` of the harness."""
    scripts = str(Path(mothertongue.__file__).parents[1])
    if scripts in sys.path:
        sys.path.remove(scripts)
        sys.path.append(scripts)


def _name(path: Path) -> str:
    """Return the name of the task in a file. Raise UserError where the file does not define one."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"evaluation.harness: {path}: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or not isinstance(content.get("task"), str):
        raise UserError(f"evaluation.harness: {path}: no task in it (key `task`)")
    return content["task"]
