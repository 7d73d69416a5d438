"""Handmade inputs of publication: an adapter's folder, its evaluation, and a dataset's card."""

import json

RECORD = {
    "base_model": {"reference": "owner/tiny", "revision": "abc", "licence": "llama2", "hub_id": "owner/tiny",
                   "folder": "../../models/base/owner--tiny"},
    "training": {"losses": [3.0, 2.0], "steps": 2, "sequences_a_step": 4, "validation": [], "best_step": None,
                 "tokens_per_second": 100.0, "peak_memory_mb": 1000, "tokens": 1234},
    "settings": {"method": "sft", "quantization": "none", "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.0,
                 "lora_targets": ["q_proj"], "max_length": 256, "learning_rate": 0.001, "schedule": "linear",
                 "rslora": False, "dora": False, "lora_plus": None, "neftune": None},
    "data": {"threads": 40, "tokens": 5678, "sha256": "def"},
    "system_prompt": "Antwoord in het Nederlands.",
    "device": "cpu",
}  # fmt: skip


def share(value, spread):
    return {"value": value, "low": value - spread, "high": value + spread, "n": 12}


BASE = {"in_language": share(0.25, 0.25), "ended": share(0.5, 0.25), "repetition": share(0.5, 0.25), "chrf": None}
ADAPTER = {"in_language": share(0.75, 0.25), "ended": share(1.0, 0.0), "repetition": share(0.125, 0.0), "chrf": None}
METRICS = {
    "lang": "nl",
    "models": ["base", "adapter"],
    "prompts": {"native": {"count": 12, "from": {"messages": 12}, "removed": 0},
                "translated": {"count": 0, "from": {}, "removed": 0}},
    "answers": {"base": {"all": BASE, "native": BASE}, "adapter": {"all": ADAPTER, "native": ADAPTER}},
    "bits_per_byte": {
        "base": {"native": share(2.5, 0.25), "translated": None, "english": share(0.9, 0.1)},
        "adapter": {"native": share(1.5, 0.25), "translated": None, "english": share(0.9, 0.1)},
    },
    "settings": {"confidence": 0.95},
}  # fmt: skip
DATASET_CARD = """---
language: [nl]
license: apache-2.0
pretty_name: OpenAssistant/oasst1 in Dutch
source_datasets: [OpenAssistant/oasst1]
---
"""


def write_adapter(folder):
    """Write an adapter with its evaluation and its dataset's card, and files that must not be published."""
    files = {
        "adapter/adapter_config.json": json.dumps({"base_model_name_or_path": "owner/tiny", "revision": "abc"}),
        "adapter/adapter_model.safetensors": "weights" * 1000,
        "adapter/tokenizer.model": "pieces" * 1000,
        "adapter/chat_template.jinja": "{{ messages }}",
        "adapter/training.json": json.dumps(RECORD),
        "adapter/README.md": "the card that tuning wrote",
        "adapter/.snakemake_timestamp": "",
        "adapter/ref/adapter_model.safetensors": "frozen",
        "adapter/checkpoint-20/optimizer.pt": "state",
        "adapter/train.log": "lines",
        "evaluation/metrics.json": json.dumps(METRICS),
        "evaluation/samples.jsonl": json.dumps({"side": "base", "prompt": "Hoi?"}) + "\n",
        "evaluation/language.svg": "<svg/>",
        "dataset/README.md": DATASET_CARD,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder
