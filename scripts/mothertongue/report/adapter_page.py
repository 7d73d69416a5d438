"""The report page of an adapter: the values of its template, computed from a run, in reading order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.languages import UNSPACED
from mothertongue.dataset import verdicts
from mothertongue.evaluation import benchmarks, compared, judged, systems
from mothertongue.evaluation.estimate import Estimate, find
from mothertongue.formats import training_record
from mothertongue.formats.messages import ROUTES, SPLITS, STATUSES
from mothertongue.report import html, run_costs, sankey
from mothertongue.report.run_data import TRANSLATOR, Json, Model, Run, Source
from mothertongue.tuning.settings import effective

KINDS = ("native", "translated", "all")
TEXTS = {"native": "native", "translated": "translated", "english": "English"}
# The label and the format of each metric, by name.
MEASURES = {
    "ended": ("ended by itself", "share"),
    "repetition": ("repetition", "share"),
    "chrf": ("chrF", "number"),
}
# The models that the harness measures, in the order of the columns.
_MODELS = ("base", "sft", "adapter")
# Longer lists are collapsed.
FEW_MODELS = 4
FEW_LANGUAGES = 12
# Metrics of fewer native prompts or threads are too uncertain for the headline.
ENOUGH = 10
PLOT_TITLES = {
    "language": "Answers in the language, by side",
    "bits_per_byte": "Bits per byte of held-out text, by model",
    "training": "Losses while training",
}


def render(run: Run, names: Mapping[str, str], template: Path) -> str:
    """Return the page of a run, rendered from its template; `names` maps language codes to names."""
    flow = sankey.make(run.accounting, run.routed, run.used)
    return html.render(
        template,
        run=run,
        names=names,
        kind=main_kind(run.metrics),
        text=main_text(run.metrics),
        headline=headline(run.metrics),
        picture_of_flow=sankey.svg(flow, f"The flow of {run.name} messages; the table below has its numbers"),
        by_source=by_source(run.accounting),
        readings=readings(run.accounting),
        columns=used_columns(run.accounting),
        route_labels=sankey.ROUTE_LABELS,
        thread_outcomes=outcomes(run.threads, "messages"),
        pair_outcomes={key: outcomes(run.preferences, key) for key in ("questions", "replies")},
        sides=[side for side in systems.SYSTEMS if side.name in (run.metrics or {}).get("answers", {})],
        answered_by=[side for side in systems.SYSTEMS if any(side.name in asked.answers for asked in run.prompts)],
        translators=[model for model in run.models if model.role == TRANSLATOR],
        others=[model for model in run.models if model.role != TRANSLATOR],
        few_models=FEW_MODELS,
        few_languages=FEW_LANGUAGES,
        models=models_of(run.metrics),
        kinds=[kind for kind in KINDS if any_side(run.metrics, kind)],
        texts=TEXTS,
        measures=MEASURES,
        # The unit of the lengths of lines and repeated sequences.
        units="letters" if run.lang in UNSPACED else "words",
        left_out=left_out(run.metrics),
        find=lambda *path: find(run.metrics, *path),
        differences=compared.read(run.metrics),
        tasks=tasks_of(run.harness, names),
        comparisons=judged.read(run.judged),
        agreements=judged.agreements(run.judged),
        verdict=judged.verdict,
        estimate=find,
        kind_labels=judged.KINDS,
        find_judged=lambda *path: find(run.judged, *path),
        confidence=f"{100 * ((run.metrics or {}).get('settings', {}).get('confidence', 0.95)):.0f}%",
        plot_titles=PLOT_TITLES,
        steps=[step for step in run.steps if step.jobs],
        total=run_costs.total(run.steps),
        licences=licences(run),
        enough_judged=verdicts.ENOUGH,
        read_of=training_record.read_of,
        steps_of=training_record.steps_of,
        data_of=training_record.data_of,
        effective=effective(run.training) if run.training else {},
        variant=run.variant,
        judged_rows=verdicts.table(run.quality["corrections"], names),
        splits=SPLITS,
    )


def headline(metrics: Json | None) -> dict[str, Estimate | None]:
    """Return the headline metrics of base model and adapter, and the adapter's gain: answers in the language, and bits
    per byte.
    """
    kind, text = main_kind(metrics), main_text(metrics)
    gain = compared.between(metrics, "adapter", "base")
    return {"gain language": gain.answers("in_language", kind), "gain bits": gain.bits(text)} | {
        f"{side} {name}": find(metrics, *path)
        for side in ("base", "base_system_prompt", "adapter")
        for name, path in {
            "language": ("answers", side, kind, "in_language"),
            "bits": ("bits_per_byte", side, text),
        }.items()
    }


def main_kind(metrics: Json | None) -> str:
    """Return the kind of prompts for the headline: native ones, written by people, where there are enough; else all."""
    return "native" if _enough(find(metrics, "answers", "adapter", "native", "ended")) else "all"


def main_text(metrics: Json | None) -> str:
    """Return the kind of held-out replies for the headline: native if enough or the only ones, else translated."""
    native, translated = (find(metrics, "bits_per_byte", "adapter", kind) for kind in ("native", "translated"))
    return "native" if _enough(native) or not translated else "translated"


def _enough(found: Estimate | None) -> bool:
    return found is not None and found.n is not None and found.n >= ENOUGH


def any_side(metrics: Json | None, kind: str) -> bool:
    """Return whether any system answered prompts of a kind."""
    return any(kind in answers for answers in (metrics or {}).get("answers", {}).values())


def left_out(metrics: Json | None) -> dict[str, int]:
    """Return how many prompts were not asked, by reason."""
    kinds = (metrics or {}).get("prompts", {}).values()
    return {why: sum(kind.get(why, 0) for kind in kinds) for why in ("seen_in_training", "too_long")}


def models_of(metrics: Json | None) -> list[systems.System]:
    """Return the systems without system prompt and examples whose model's bits per byte were measured."""
    losses = (metrics or {}).get("bits_per_byte", {})
    measured = [side for side in systems.SYSTEMS if isinstance(losses.get(side.model), Mapping)]
    return [side for side in measured if side.is_plain]


@dataclass(frozen=True)
class TaskFigure:
    """A figure of a task of the harness: of `n` examples by model, and adapter - base on the same examples.

    `made` is the language of a known benchmark and how it came to it; empty for other tasks.
    """

    task: str
    made: str
    figure: str
    n: int | None
    by_model: Mapping[str, Json]
    difference: Estimate | None


def tasks_of(harness: Json | None, names: Mapping[str, str]) -> list[TaskFigure]:
    """Return the figures of the harness's tasks in their order; those of a group's parts are left out."""
    rows = []
    measured = (harness or {}).get("tasks", {})
    for task, result in ((task, result) for task, result in measured.items() if "group" not in result):
        made = ""
        if "origin" in result:
            made = f"{names.get(result['language'], result['language'])}, {benchmarks.ORIGINS[result['origin']]}"
        for figure in result["base"]:
            own = {model: result[model][figure] for model in _MODELS if figure in result.get(model, {})}
            rows.append(TaskFigure(task, made, figure, result["n"], own, find(result, "difference", figure)))
    return rows


def by_source(accounting: Json) -> list[tuple[str, dict[str, int]]]:
    """Return the counts of each source language, both splits together, most messages first; then the totals."""
    languages: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        for language, entry in accounting[split].items():
            counts = languages.setdefault(language, {})
            for key, number in _flat(entry).items():
                counts[key] = counts.get(key, 0) + number
    ordered = sorted(languages.items(), key=lambda item: (-item[1]["messages"], item[0]))
    return [*ordered, ("all", _flat(accounting["total"]))]


def readings(accounting: Json) -> list[tuple[str, Json]]:
    """Return what became of the rows of each source of conversations, with its name."""
    found = [("the source", accounting.get("reading"))]
    found += [(name, part.get("reading")) for name, part in accounting.get("sources", {}).items()]
    return [(name, reading) for name, reading in found if reading]


def used_columns(accounting: Json) -> dict[str, list[str]]:
    """Return the routes and statuses that at least one message has."""
    total = accounting["total"]
    return {
        "route": [route for route in ROUTES if total["route"][route]],
        "status": [status for status in STATUSES if total["status"][status]],
    }


def outcomes(accounts: Mapping[str, Json], key: str) -> list[tuple[str, list[int]]]:
    """Return the outcomes of messages (or of another `key` of the accounting) by split, most frequent first."""
    names = {name for account in accounts.values() for name in account[key]}
    rows = [(name, [accounts[split][key].get(name, 0) for split in SPLITS if split in accounts]) for name in names]
    return sorted(rows, key=lambda row: (-sum(row[1]), row[0]))


def licences(run: Run) -> dict[str, list[str]]:
    """Return the components of the run whose licence forbids commercial use, and those without a stated licence."""
    parts: list[Source | Model] = [*run.sources, *run.models]
    return {
        "noncommercial": [part.name for part in parts if part.noncommercial],
        "unstated": [part.name for part in parts if not part.licence],
    }


def _flat(entry: Json) -> dict[str, int]:
    counts = {key: entry[key] for key in ("messages", "excluded", "out")}
    for kind in ("route", "status"):
        counts |= {f"{kind} {name}": number for name, number in entry[kind].items()}
    return counts
