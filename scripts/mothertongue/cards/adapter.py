"""The card of an adapter, from its training.json and, where there is one, its evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mothertongue.cards import answer, evaluation, render, stated_licences, teachers
from mothertongue.common import licences
from mothertongue.formats import training_record
from mothertongue.models.record import base_name
from mothertongue.tuning.settings import effective


@dataclass(frozen=True)
class Published:
    """The hub repository of an adapter, and its evaluation.

    `datasets` are hub ids: first the dataset that the adapter was tuned on, whose licences are `licences`, then the
    sources of that dataset. `judged` is what a judge found, empty where there was none; `teachers` are the models that
    wrote what the assistant says in the dataset.
    """

    repository: str
    datasets: list[str]
    licences: list[str]
    metrics: Mapping[str, Any]
    judged: Mapping[str, Any] = field(default_factory=dict)
    teachers: Sequence[str] = ()


def adapter_card(
    lang: str, name: str, record: Mapping[str, Any], template: str, published: Published | None = None
) -> str:
    """Return the card of an adapter from its training.json; with `published`, the longer card for the hub."""
    model, data = base_name(record["base_model"]), record["data"]
    taught = record.get("teachers", {})
    return render.card(
        "adapter",
        header=_header(lang, record, published),
        name=name,
        model=model,
        template=template,
        base=record["base_model"],
        read=training_record.data_of(record),
        before=training_record.data_of(record["before"]) if record.get("before") else "",
        effective=effective(record),
        dtype=record.get("dtype", "bfloat16"),
        steps=training_record.steps_of(record),
        counts={key.replace("_", " "): count for key, count in data.items() if isinstance(count, int)},
        validation=_validation(record["training"]),
        mix=record.get("mix") or (record.get("before") or {}).get("mix"),
        published=published,
        **teachers.values(dict.fromkeys([*taught, *(published.teachers if published else [])])),
        stated=_licences(model, record, published) if published or taught else None,
        evaluation=evaluation.values(published.metrics, published.judged) if published else None,
        **answer.values(record),
        **{key: record[key] for key in ("settings", "training", "data", "device")},
    )


def _header(lang: str, record: Mapping[str, Any], published: Published | None) -> dict[str, Any]:
    base, method = record["base_model"], record["settings"]["method"]
    index = evaluation.metrics_index(published.repository, published.datasets, published.metrics) if published else []
    return {
        **render.languages(lang),
        "base_model": base["hub_id"],
        **licences.header([base["licence"], *_forbidding(record, published)], one=True),
        "datasets": published.datasets if published else [],
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "trl", method, "mothertongue"],
        "model-index": index,
    }


def _validation(training: Mapping[str, Any]) -> dict[str, float] | None:
    """Return step and validation loss of the weights that were kept; None where no validation loss was measured."""
    losses = dict(training["validation"])
    if not losses:
        return None
    step = training["best_step"] or max(losses)
    return {"step": step, "loss": losses[step]}


def _licences(model: str, record: Mapping[str, Any], published: Published | None) -> dict[str, Any]:
    """Return the licences of the base model, the data and the teachers that the adapter was made from."""
    data = {published.datasets[0]: ", ".join(published.licences)} if published else {}
    licence, taught = record["base_model"]["licence"], record.get("teachers", {})
    stated = {f"base model {model}": licence} | {f"data {name}": of_data for name, of_data in data.items()} | taught
    return stated_licences.values(stated, {model: licence} | data | taught)


def _forbidding(record: Mapping[str, Any], published: Published | None) -> list[str]:
    """Return the licences of the data that forbid commercial use: the adapter inherits them."""
    of_data = [*(published.licences if published else []), *record.get("teachers", {}).values()]
    return list(filter(licences.is_noncommercial, of_data))
