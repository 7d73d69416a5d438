"""The figures of an adapter and its base model on tasks of the lm-evaluation-harness, and their difference."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from statistics import fmean
from typing import Any

from mothertongue.evaluation.bootstrap import Bootstrap, mean
from mothertongue.evaluation.harness_tasks import Tasks, leaves_of
from mothertongue.evaluation.loaded_models import Evaluated
from mothertongue.models import causal_lm
from mothertongue.prompts import templates

_STDERR = "_stderr"
# How far a mean of examples may be from the harness's figure, which is rounded to four digits.
_ROUNDED = 1e-4


def measure(
    evaluated: Evaluated, tasks: Tasks, limit: int | None, batch_size: int, bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Return, by task or group, the number `n` of examples, by model each metric with its standard error, `difference`.

    A task that is part of a group names it as `group`. `difference` has adapter - base by metric with its interval, of
    the same examples, where the metric is a mean of them. A task whose `metadata` has `chat_template: true` is asked in
    the adapter's chat template.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for name in evaluated.models:
        with causal_lm.speaking_as(evaluated.model, name):
            found[name] = [
                _evaluate(evaluated, chosen, chat, limit, batch_size, bootstrap.seed)
                for chat, chosen in tasks.by_template().items()
            ]
    results, groups = _figures(found), tasks.loaded["group_map"]
    scores = {name: _scores(runs) for name, runs in found.items()}
    for task, result in results.items():
        parts = leaves_of(task, groups)
        if result["n"] is None:
            result["n"] = sum(results[part]["n"] or 0 for part in parts if part in results)
        differences = {metric: _difference(scores, parts, metric, result, bootstrap) for metric in result["base"]}
        result["difference"] = {metric: found for metric, found in differences.items() if found}
    # Groups that only gather tasks have no figures of their own.
    for group in (group for group in groups if group in results):
        for part in leaves_of(group, groups):
            results.get(part, {})["group"] = group
    return results


def _figures(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return, by task or group, the number of examples where the harness gives it, and by model each metric."""
    results: dict[str, dict[str, Any]] = {}
    for name, run in ((name, run) for name, runs in found.items() for run in runs):
        for task, metrics in run["results"].items():
            if own := estimates(metrics):
                n = run.get("n-samples", {}).get(task, {}).get("effective")
                results.setdefault(task, {"n": n})[name] = own
    return results


def _evaluate(
    evaluated: Evaluated, tasks: list[Any], chat: bool, limit: int | None, batch_size: int, seed: int
) -> Mapping[str, Any]:
    """Return the harness's results of the model that speaks, with each example's own metrics (`samples`)."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    tokenizer = evaluated.tokenizer
    if chat:
        # The harness ends an answer at the tokenizer's end token.
        end = tokenizer.convert_ids_to_tokens(templates.end_of_turn(evaluated.template, tokenizer))
        tokenizer = deepcopy(tokenizer)
        tokenizer.chat_template, tokenizer.eos_token = evaluated.template.source, end
    return simple_evaluate(
        HFLM(evaluated.model, backend="causal", tokenizer=tokenizer, batch_size=batch_size, trust_remote_code=False),
        tasks=tasks,
        limit=limit,
        log_samples=True,
        apply_chat_template=chat,
        confirm_run_unsafe_code=False,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )


def _scores(runs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[Any, float]]:
    """Return each example's score by task and metric (as `estimates` names it), by its number."""
    scores: dict[tuple[str, str], dict[Any, float]] = {}
    for task, samples in ((task, samples) for run in runs for task, samples in run["samples"].items()):
        for sample in samples:
            for metric in sample["metrics"]:
                if isinstance(value := sample[metric], bool | int | float):
                    scores.setdefault((task, _label(metric, sample["filter"])), {})[sample["doc_id"]] = float(value)
    return scores


def _difference(
    scores: Mapping[str, Mapping[tuple[str, str], Mapping[Any, float]]],
    leaves: Sequence[str],
    metric: str,
    result: Mapping[str, Any],
    bootstrap: Bootstrap,
) -> dict[str, Any] | None:
    """Return adapter - base on the same examples; None where the metric is not the mean over them."""
    values: dict[str, list[float]] = {}
    for model in ("base", "adapter"):
        own = [scores[model].get((leaf, metric), {}) for leaf in leaves]
        values[model] = [score for found in own for _, score in sorted(found.items())]
        stated = result[model].get(metric, {}).get("value")
        if not values[model] or stated is None or abs(fmean(values[model]) - stated) > _ROUNDED:
            return None
    return mean([two - one for one, two in zip(values["base"], values["adapter"], strict=True)], bootstrap)


def estimates(metrics: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Convert the harness's `acc,none` and `acc_stderr,none` to `acc` with value and standard error."""
    found = {}
    for key, value in metrics.items():
        name, _, choice = key.partition(",")
        if isinstance(value, int | float) and choice and not name.endswith(_STDERR):
            error = metrics.get(f"{name}{_STDERR},{choice}")
            rounded = round(error, 4) if isinstance(error, int | float) else None
            found[_label(name, choice)] = {"value": round(value, 4), "stderr": rounded}
    return found


def _label(metric: str, choice: str) -> str:
    """Return the name of a metric of the answers that one of a task's filters leaves."""
    return metric if choice == "none" else f"{metric} ({choice})"


def format_results(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Format the results as text, one line per metric."""
    return [
        f"{task}, {metric}: base {base['value']}, adapter {result['adapter'][metric]['value']}"
        + _format_difference(result["difference"].get(metric))
        for task, result in results.items()
        for metric, base in result["base"].items()
    ]


def _format_difference(found: Mapping[str, Any] | None) -> str:
    return f", difference {found['value']} ({found['low']} to {found['high']})" if found else ""
