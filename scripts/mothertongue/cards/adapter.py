"""The card of an adapter, from what its training.json records and, where there is one, from its evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.cards import render
from mothertongue.cards.evaluation import metrics_index, tables
from mothertongue.common import licences
from mothertongue.models.record import base_name

_METHODS = {
    "sft": "SFT, loss on the assistant's words only",
    "dpo": "DPO on preferences, from an SFT adapter",
    "orpo": "ORPO on preferences",
}


@dataclass(frozen=True)
class Published:
    """Where an adapter is published, and its evaluation.

    `datasets` are ids on the hub: what it was tuned on, which has `licences`, then what that was made from.
    """

    repository: str
    datasets: list[str]
    licences: list[str]
    metrics: Mapping[str, Any]


def adapter_card(
    lang: str, name: str, record: Mapping[str, Any], template: str, published: Published | None = None
) -> str:
    """The card of an adapter from what training.json records; `published` makes it the fuller one of the hub."""
    base, data, method = record["base_model"], record["data"], record["settings"]["method"]
    read = f"{data['threads']:,} threads" if method == "sft" else f"{data['pairs']:,} preference pairs"
    model = base_name(base)
    header = {
        **render.languages(lang),
        "base_model": base["hub_id"],
        **licences.header([base["licence"], *_forbidding(published)], one=True),
        "datasets": published.datasets if published else [],
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "trl", method, "mothertongue"],
        "model-index": metrics_index(published.repository, published.datasets, published.metrics) if published else [],
    }
    return "\n".join(
        [
            *render.header(header),
            "",
            f"# {render.markdown(f'A {name} adapter for {model}')}",
            "",
            render.markdown(
                f"A LoRA adapter for {model} (revision {base['revision']}), tuned by Mothertongue on {read} to answer "
                f"in {name}."
            ),
            "",
            *_loading(base, published),
            "",
            render.markdown(
                f"Prompts are rendered in the chat template beside this file ({template}), with this system prompt:"
            ),
            "",
            *render.quoted(record["system_prompt"]),
            "",
            *([*tables(published.metrics), ""] if published else []),
            "## Training",
            "",
            "| | |",
            "|---|---|",
            *(render.row(label, render.markdown(text)) for label, text in _training(record).items()),
            "",
            "Settings, losses and checksums are in training.json.",
            "",
            *([*_licences(model, base["licence"], published), ""] if published else []),
        ]
    )


def _training(record: Mapping[str, Any]) -> dict[str, str]:
    """What the card says of the training, by what it is of."""
    training, settings, data = record["training"], record["settings"], record["data"]
    losses, quantization = training["losses"], settings["quantization"]
    return {
        "method": f"{_METHODS[settings['method']]}, with LoRA",
        "base model": "trained on as it is, without quantization"
        if quantization == "none"
        else f"trained on in {quantization} quantization",
        "LoRA": f"rank {settings['lora_rank']}, alpha {settings['lora_alpha']}, dropout {settings['lora_dropout']}, "
        f"layers: {', '.join(settings['lora_targets'])}{_kinds(settings)}",
        "steps": f"{training['steps']} of {training['sequences_a_step']} sequences of up to {settings['max_length']} "
        "tokens",
        "learning rate": f"{settings['learning_rate']}, {settings['schedule'].replace('_', ' ')}",
        "loss": f"{losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last{_validation(training)}",
        "speed": f"{training['tokens_per_second']:,} tokens/s on {record['device']}",
        "memory": f"{training['peak_memory_mb']:,} MB at the peak",
        "data": ", ".join(f"{key.replace('_', ' ')}: {n:,}" for key, n in data.items() if isinstance(n, int)),
    }


def _loading(base: Mapping[str, Any], published: Published | None) -> list[str]:
    """How to load the adapter. A base model that is not on the hub has to be at hand."""
    where = render.literal(published.repository) if published else "ADAPTER_FOLDER"
    if base["hub_id"] or not published:
        code = ("from peft import AutoPeftModelForCausalLM", f"AutoPeftModelForCausalLM.from_pretrained({where})")
        return render.python(code[0], "", f"model = {code[1]}")
    return [
        "The base model is not on the hub: `BASE_MODEL` is the folder that it was fetched to.",
        "",
        *render.python(
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
            "",
            f"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE_MODEL), {where})",
        ),
    ]


def _licences(model: str, licence: str | None, published: Published) -> list[str]:
    """What the adapter is made from, and under which licences."""
    data = published.datasets[0]
    parts = {f"base model {model}": licence, f"data {data}": ", ".join(published.licences)}
    return [
        "## Licences",
        "",
        *render.stated(parts),
        *licences.warning({render.markdown(model): licence, render.markdown(data): parts[f"data {data}"]}),
    ]


def _forbidding(published: Published | None) -> list[str]:
    """The licences of the data that forbid commercial use, which the adapter inherits."""
    return list(filter(licences.is_noncommercial, published.licences)) if published else []


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
