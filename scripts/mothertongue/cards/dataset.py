"""The card of a translated dataset, from the real numbers."""

from collections.abc import Mapping
from typing import Any

from mothertongue.cards import render
from mothertongue.common import licences
from mothertongue.source.dataset_reference import is_hub_id

_LOCAL = (
    "from datasets import load_dataset",
    "",
    'dataset = load_dataset("parquet", data_files={"train": "train.parquet", "validation": "validation.parquet"})',
)


def dataset_card(
    lang: str,
    name: str,
    source: str,
    licence: str,
    accounting: Mapping[str, Any],
    models: Mapping[str, int],
    quality: Mapping[str, Any],
    model_licences: Mapping[str, str | None],
) -> str:
    """The card of the folder that scripts/combine.py writes.

    `models` counts the messages that each model (or `a+b`) translated; `model_licences` has the licences of the models;
    `quality` is the report of mothertongue.quality_report.
    """
    total = accounting["total"]
    used = {model: model_licences.get(model) for models_of_one in models for model in models_of_one.split("+")}
    header = {
        **render.languages(lang),
        **licences.header([licence, *used.values()]),
        "pretty_name": f"{source} in {name}",
        "task_categories": ["text-generation"],
        "tags": ["conversational", "machine-translated", "mothertongue"],
        "size_categories": [render.size_category(total["out"])],
        "source_datasets": [source] if is_hub_id(source) else [],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}.parquet"} for split in ("train", "validation")],
            }
        ],
    }
    rows = [
        render.row(
            split,
            render.markdown(language),
            *map(str, [entry["messages"], entry["excluded"]]),
            *map(str, entry["status"].values()),
            str(entry["out"]),
        )
        for split in ("train", "validation")
        for language, entry in accounting[split].items()
    ]
    return "\n".join(
        [
            *render.header(header),
            "",
            f"# {render.markdown(f'{source} in {name}')}",
            "",
            render.markdown(
                f"The messages of {source}, translated into {name} by Mothertongue: {total['messages']:,} messages in, "
                f"{total['out']:,} in the dataset."
            ),
            *_left_out(total["excluded_because"]),
            "",
            "Each row is a message with the source's columns; `text` is in the target language (null where `status` is "
            "`failed`), `source_text` as it was. `route`, `model`, `status` and `reasons` say how it was translated.",
            "",
            *render.python(*_LOCAL),
            "",
            "## Translation models",
            "",
            *([f"- {render.markdown(model)}: {count:,} messages" for model, count in models.items()] or ["- none"]),
            "",
            "## Licences",
            "",
            *render.stated({source: licence} | used),
            *licences.warning({render.markdown(model): found for model, found in used.items()}),
            "",
            "## Quality",
            "",
            *_quality(name, quality["total"]),
            "",
            "![What became of the messages, by source language](quality/statuses.svg)",
            "",
            "The figures of each source language, with examples of every objection, are in "
            "[quality.json](quality.json), their plots in [quality/](quality).",
            "",
            "## Account of every message",
            "",
            render.row("split", "source", "in", "excluded", *total["status"], "out"),
            "|---|---|" + "---:|" * (3 + len(total["status"])),
            *rows,
            "",
        ]
    )


def on_hub(card: str, repository: str) -> str:
    """The card with the code that loads the dataset from where it is published."""
    code = ("from datasets import load_dataset", "", f"dataset = load_dataset({render.literal(repository)})")
    return card.replace("\n".join(render.python(*_LOCAL)), "\n".join(render.python(*code)))


def _left_out(excluded: Mapping[str, int]) -> list[str]:
    """What the dataset does not hold of its source."""
    whose = {"language": "in other source languages", "scope": "that no training thread uses"}
    return [f"Left out were {n:,} {whose[reason]}." for reason, n in excluded.items() if n]


def _quality(name: str, figures: Mapping[str, Any]) -> list[str]:
    """The quality report's figures as lines of a list."""
    language, score = figures["language"], figures["score"]["quantiles"]
    lines = [
        render.counted("- objections (messages): ", _messages(figures["reasons"])) or "- objections: none",
        render.counted("- objections that a second try removed (messages): ", _messages(figures["cured"])),
    ]
    for unit, label in (("characters", "characters"), ("bytes", "UTF-8 bytes")):
        if ratio := figures["length_ratio"][unit]["quantiles"]:
            lines.append(
                f"- length of a translation over its source in {label}: {ratio['p50']:.2f} in the middle, "
                f"{ratio['p5']:.2f} to {ratio['p95']:.2f} for nine of ten"
            )
    if language is None:
        lines.append(f"- language: not measurable, lid.176 does not know {render.markdown(name)}")
    elif language["judged"]:
        share, judged = language["in_target_share"], language["judged"]
        lines.append(
            f"- language: {share:.1%} of the {judged:,} translations long enough to judge are in "
            f"{render.markdown(name)}" + render.counted("; others: ", language["others"])
        )
    if score:
        lines.append(f"- mean log-probability of a token, by the engine: {score['p50']:.2f} in the middle")
    return [line for line in lines if line]


def _messages(reasons: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {reason: entry["messages"] for reason, entry in reasons.items()}
