"""The card of a translated dataset, with the numbers of its accounting and quality report."""

from collections.abc import Mapping, Sequence
from typing import Any

from mothertongue.cards import render, stated_licences
from mothertongue.cards.teachers import ANSWERED_BY
from mothertongue.common import licences
from mothertongue.dataset import verdicts
from mothertongue.source.dataset_reference import is_hub_id

_SPLITS = ("train", "validation")


def dataset_card(
    lang: str,
    name: str,
    sources: Sequence[tuple[str, str]],
    accounting: Mapping[str, Any],
    models: Mapping[str, int],
    quality: Mapping[str, Any],
    model_licences: Mapping[str, str | None],
) -> str:
    """Return the card for the folder that scripts/combine.py writes.

    `sources` are the names of the source datasets with their licences, in the order of the account where there are
    several. `models` counts the messages that each model (or `a+b`) translated; the account has those that a
    teacher wrote. `model_licences` maps the models to their licences; `quality` is the report of
    mothertongue.dataset.quality_report.
    """
    total, figures = accounting["total"], quality["total"]
    teachers = accounting.get("answered_by", {})
    used = {model: model_licences.get(model) for models_of_one in models for model in models_of_one.split("+")}
    used |= {teacher: model_licences.get(teacher) for teacher in teachers}
    source = " + ".join(dataset for dataset, _ in sources)
    title = f"{source} in {name}"
    header = {
        **render.languages(lang),
        **licences.header([*(licence for _, licence in sources), *used.values()]),
        "pretty_name": title,
        "task_categories": ["text-generation"],
        "tags": ["conversational", "machine-translated", *(["synthetic"] if teachers else []), "mothertongue"],
        "size_categories": [render.size_category(total["out"])],
        "source_datasets": [dataset for dataset, _ in sources if is_hub_id(dataset)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}.parquet"} for split in _SPLITS],
            }
        ],
        # The cards of threads and adapters take it from here.
        ANSWERED_BY: list(teachers),
    }
    return render.card(
        "dataset",
        header=header,
        title=title,
        name=name,
        source=source,
        repository=None,
        models=models,
        teachers=teachers,
        stated=stated_licences.values(_stated(sources, accounting) | used, used),
        objections=_messages(figures["reasons"]),
        cured=_messages(figures["cured"]),
        notes=_messages(figures["notes"]),
        corrections=quality["corrections"],
        glossary=_sums(quality["glossary"]),
        shares=verdicts.table(quality["corrections"], {}),
        enough=verdicts.ENOUGH,
        ratios={unit: figures["length_ratio"][unit]["quantiles"] for unit in ("characters", "bytes")},
        language=figures["language"],
        score=figures["score"]["quantiles"],
        meaning=figures["meaning"]["quantiles"],
        accounting={split: accounting[split] for split in _SPLITS},
        total=total,
        statuses=[status for status, count in total["status"].items() if count or status != "answered"],
        reading=accounting.get("reading"),
        sources=_shares(sources, accounting),
    )


def _stated(sources: Sequence[tuple[str, str]], accounting: Mapping[str, Any]) -> dict[str, str]:
    """Return the licences of the source datasets; datasets of one name with those of their sources."""
    names = list(accounting.get("sources", [""]))
    datasets = [dataset for dataset, _ in sources]
    return {
        f"{dataset} ({name})" if datasets.count(dataset) > 1 else dataset: licence
        for name, (dataset, licence) in zip(names, sources, strict=True)
    }


def _shares(sources: Sequence[tuple[str, str]], accounting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each of several sources gave to the dataset; nothing where there is one."""
    parts = accounting.get("sources", {})
    rows = [
        {
            "name": name,
            "dataset": dataset,
            "licence": licence or "not stated",
            "messages": part["total"]["messages"],
            "out": part["total"]["out"],
            "share": part["total"]["out"] / max(1, accounting["total"]["out"]),
            "reading": part.get("reading"),
        }
        for (name, part), (dataset, licence) in zip(parts.items(), sources, strict=bool(parts))
    ]
    return rows


def on_hub(card: str, repository: str) -> str:
    """Return the card with its loading code pointing to the hub repository instead of the local folder."""
    local, published = (render.block("dataset", "loading", repository=place) for place in (None, repository))
    return card.replace(local, published)


def _sums(glossary: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the number of terms that occur, of their uses, and of the uses that the translations have."""
    counts = {key: sum(entry[key] for entry in glossary.values()) for key in ("uses", "hits")}
    return {"terms": len(glossary)} | counts


def _messages(reasons: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {reason: entry["messages"] for reason, entry in reasons.items()}
