"""Tasks of the lm-evaluation-harness on an adapter and its base model.

The harness: Gao et al., "A framework for few-shot language model evaluation", doi:10.5281/zenodo.5371628.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

import mothertongue
from mothertongue.common.errors import UserError
from mothertongue.evaluation.loaded_models import Evaluated
from mothertongue.models import causal_lm

_STDERR = "_stderr"


@dataclass(frozen=True)
class Tasks:
    """The names of tasks, and the harness's TaskManager that loads them."""

    names: list[str]
    manager: Any


def version() -> str:
    """Return the harness's version."""
    return metadata.version("lm_eval")


def find_tasks(given: Sequence[str]) -> Tasks:
    """Find tasks by name or by the path of a YAML file. Raise UserError with the name of an unknown task."""
    if find_spec("lm_eval") is None:
        raise UserError(
            "the lm-evaluation-harness is not installed: use --sdm conda, or pip install what envs/harness.yaml has"
        )
    _put_scripts_last()
    from lm_eval.tasks import TaskManager

    files = {entry: Path(entry) for entry in given if entry.endswith((".yaml", ".yml"))}
    manager = TaskManager(include_path=[str(path.parent.resolve()) for path in files.values()] or None)
    names = [_name(files[entry]) if entry in files else entry for entry in given]
    for name in names:
        if name not in manager.all_tasks:
            raise UserError(f"evaluation.harness: there is no task '{name}'; `lm_eval ls tasks` lists them all")
    return Tasks(names, manager)


def measure(
    evaluated: Evaluated, tasks: Tasks, limit: int | None, batch_size: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return, by task (or group), the number `n` of examples, and by model each metric with its standard error."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    results: dict[str, dict[str, Any]] = {}
    for name in evaluated.models:
        with causal_lm.speaking_as(evaluated.model, name):
            found = simple_evaluate(
                HFLM(
                    evaluated.model,
                    backend="causal",
                    tokenizer=evaluated.tokenizer,
                    batch_size=batch_size,
                    trust_remote_code=False,
                ),
                tasks=tasks.names,
                limit=limit,
                log_samples=False,
                confirm_run_unsafe_code=False,
                task_manager=tasks.manager,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
        for task, metrics in found["results"].items():
            n = found.get("n-samples", {}).get(task, {}).get("effective")
            results.setdefault(task, {"n": n})[name] = estimates(metrics)
    return results


def estimates(metrics: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Convert the harness's `acc,none` and `acc_stderr,none` to `acc` with value and standard error."""
    found = {}
    for key, value in metrics.items():
        name, _, choice = key.partition(",")
        if isinstance(value, int | float) and choice and not name.endswith(_STDERR):
            error = metrics.get(f"{name}{_STDERR},{choice}")
            label = name if choice == "none" else f"{name} ({choice})"
            rounded = round(error, 4) if isinstance(error, int | float) else None
            found[label] = {"value": round(value, 4), "stderr": rounded}
    return found


def format_results(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Format the results as text, one line per metric."""
    return [
        f"{task}, {metric}: base {base['value']}, adapter {result['adapter'][metric]['value']}"
        for task, result in results.items()
        for metric, base in result["base"].items()
    ]


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
