"""Cards: the README.md of a dataset and of an adapter, in the hub's format, from the real numbers."""

from collections.abc import Mapping
from typing import Any

_METHODS = {
    "sft": "SFT, loss on the assistant's words only",
    "dpo": "DPO on preferences, from an SFT adapter",
    "orpo": "ORPO on preferences",
}


def dataset_card(
    lang: str,
    name: str,
    source: str,
    licence: str,
    accounting: Mapping[str, Any],
    models: Mapping[str, int],
    quality: Mapping[str, Any],
) -> str:
    """The card of a translated dataset.

    `models` counts the messages that each model translated; `quality` is the report of mothertongue.quality_report.
    """
    total = accounting["total"]
    rows = [
        f"| {split} | {language} | {entry['messages']} | {entry['excluded']} | "
        + " | ".join(str(count) for count in entry["status"].values())
        + f" | {entry['out']} |"
        for split in ("train", "validation")
        for language, entry in accounting[split].items()
    ]
    statuses = " | ".join(total["status"])
    model_lines = [f"- {model}: {count:,} messages" for model, count in models.items()] or ["- none"]
    return "\n".join(
        [
            "---",
            f"language: [{lang}]",
            f"license: {licence}",
            f"pretty_name: {source} in {name}",
            "task_categories: [text-generation]",
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - {split: train, path: train.parquet}",
            "  - {split: validation, path: validation.parquet}",
            "---",
            "",
            f"# {source} in {name}",
            "",
            f"The messages of {source}, translated into {name} by Mothertongue: {total['messages']:,} messages in, "
            f"{total['out']:,} in the dataset.",
            *_left_out(total["excluded_because"]),
            "",
            "Each row is a message with the source's columns; `text` is in the target language (null where `status` is "
            "`failed`), `source_text` as it was. `route`, `model`, `status` and `reasons` say how it was translated.",
            "",
            "```python",
            "from datasets import load_dataset",
            "",
            'dataset = load_dataset("parquet", data_files={"train": "train.parquet", '
            '"validation": "validation.parquet"})',
            "```",
            "",
            "## Translation models",
            "",
            *model_lines,
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
            f"| split | source | in | excluded | {statuses} | out |",
            "|---|---|" + "---:|" * (3 + len(total["status"])),
            *rows,
            "",
        ]
    )


def _left_out(excluded: Mapping[str, int]) -> list[str]:
    """What the dataset does not hold of its source."""
    whose = {"language": "in other source languages", "scope": "that no training thread uses"}
    return [f"Left out were {n:,} {whose[reason]}." for reason, n in excluded.items() if n]


def _quality(name: str, figures: Mapping[str, Any]) -> list[str]:
    """The quality report's figures as lines of a list."""
    language, score = figures["language"], figures["score"]["quantiles"]
    lines = [
        _counted("- objections (messages): ", _messages(figures["reasons"])) or "- objections: none",
        _counted("- objections that a second try removed (messages): ", _messages(figures["cured"])),
    ]
    for unit, label in (("characters", "characters"), ("bytes", "UTF-8 bytes")):
        if ratio := figures["length_ratio"][unit]["quantiles"]:
            lines.append(
                f"- length of a translation over its source in {label}: {ratio['p50']:.2f} in the middle, "
                f"{ratio['p5']:.2f} to {ratio['p95']:.2f} for nine of ten"
            )
    if language is None:
        lines.append(f"- language: not measurable, lid.176 does not know {name}")
    elif language["judged"]:
        share, judged = language["in_target_share"], language["judged"]
        others = _counted("; others: ", language["others"])
        lines.append(
            f"- language: {share:.1%} of the {judged:,} translations long enough to judge are in {name}{others}"
        )
    if score:
        lines.append(f"- mean log-probability of a token, by the engine: {score['p50']:.2f} in the middle")
    return [line for line in lines if line]


def _messages(reasons: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {reason: entry["messages"] for reason, entry in reasons.items()}


def _counted(label: str, counts: Mapping[str, int]) -> str:
    """The counts behind their label; empty where there are none."""
    return label + ", ".join(f"{name} {count:,}" for name, count in counts.items()) if counts else ""


def adapter_card(lang: str, name: str, record: Mapping[str, Any], template: str) -> str:
    """The card of an adapter from what training.json records."""
    base, training, settings, data = record["base_model"], record["training"], record["settings"], record["data"]
    losses, method = training["losses"], settings["method"]
    read = f"{data['threads']:,} threads" if method == "sft" else f"{data['pairs']:,} preference pairs"
    tags = f"tags: [lora, trl, {method}]"
    header = [f"language: [{lang}]", "library_name: peft", "pipeline_tag: text-generation", tags]
    if base["hub_id"]:
        header.insert(1, f"base_model: {base['hub_id']}")
    if base["licence"]:
        header.insert(1, f"license: {base['licence']}")
    return "\n".join(
        [
            "---",
            *header,
            "---",
            "",
            f"# A {name} adapter for {base['reference']}",
            "",
            f"A LoRA adapter that teaches {base['reference']} (revision {base['revision']}) to answer in {name}, made "
            f"by Mothertongue from {read}.",
            "",
            "```python",
            "from peft import AutoPeftModelForCausalLM",
            "",
            "model = AutoPeftModelForCausalLM.from_pretrained(ADAPTER_FOLDER)",
            "```",
            "",
            f"Prompts are rendered in the chat template beside this file ({template}), with this system prompt:",
            "",
            f"> {record['system_prompt'] or '(none)'}",
            "",
            "## Training",
            "",
            "| | |",
            "|---|---|",
            f"| method | {_METHODS[method]}, with LoRA |",
            f"| base model | trained on in {settings['quantization']} quantization |"
            if settings["quantization"] != "none"
            else "| base model | trained on as it is, without quantization |",
            f"| LoRA | rank {settings['lora_rank']}, alpha {settings['lora_alpha']}, dropout "
            f"{settings['lora_dropout']}, layers: {', '.join(settings['lora_targets'])}{_kinds(settings)} |",
            f"| steps | {training['steps']} of {training['sequences_a_step']} sequences of up to "
            f"{settings['max_length']} tokens |",
            f"| learning rate | {settings['learning_rate']}, {settings['schedule'].replace('_', ' ')} |",
            f"| loss | {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last{_validation(training)} |",
            f"| speed | {training['tokens_per_second']:,} tokens/s on {record['device']} |",
            f"| memory | {training['peak_memory_mb']:,} MB at the peak |",
            "| data | "
            + ", ".join(f"{key.replace('_', ' ')}: {n:,}" for key, n in data.items() if isinstance(n, int))
            + " |",
            "",
            "Settings, losses and checksums are in training.json.",
            "",
        ]
    )


def _kinds(settings: Mapping[str, Any]) -> str:
    """The variants of LoRA that were used."""
    names = {"rslora": "rsLoRA", "dora": "DoRA", "lora_plus": "LoRA+", "neftune": "NEFTune"}
    return "".join(f", {name}" for key, name in names.items() if settings[key])


def _validation(training: Mapping[str, Any]) -> str:
    losses = dict(training["validation"])
    if not losses:
        return ""
    step = training["best_step"] or max(losses)
    return f"; validation loss {losses[step]:.3f} after step {step}, whose weights these are"
