"""Tests of the folders for LLaMA-Factory and for Axolotl's DPO: the texts and tokens of our own training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import FAMILIES, family_tokenizer
from transformers import LlamaConfig

from mothertongue.models import tokenizer_files
from mothertongue.prompts import templates

TUNING = yaml.safe_load(Path("config/config.yaml").read_text())["tuning"]
SYSTEM, QUESTION, OTHER = (
    {"role": role, "content": text}
    for role, text in (("system", "Responda em português."), ("user", "Quanto é 2 + 2? </s>"), ("user", "E 3 + 3?"))
)
FOUR, SIX, BAD = ({"role": "assistant", "content": text} for text in (" São 4.\n", "São 6.", "I do not know."))
THREADS = [{"messages": [SYSTEM, QUESTION, FOUR, OTHER, SIX]}, {"messages": [QUESTION, FOUR]}]
PAIRS = [{"prompt": [SYSTEM, QUESTION, FOUR, OTHER], "chosen": [SIX], "rejected": [BAD]}]


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(params=FAMILIES)
def base(request, tmp_path):
    """Return the folder of a base model, which has only a tokenizer and a configuration, and a template's path."""
    tokenizer = family_tokenizer(request.param, "bytes")
    tokenizer.save_pretrained(tmp_path / "base")
    LlamaConfig(vocab_size=len(tokenizer)).save_pretrained(tmp_path / "base")
    return tmp_path / "base", Path(f"config/templates/{request.param}.jinja")


def written(program, base, rows, validation=(), **settings):
    """Write the rows, run a program for them, and return its folder and configuration."""
    folder, template = base
    place = folder.parent
    for name, some in (("train", rows), ("validation", validation)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    tuning = {key: value for key, value in TUNING.items() if key not in ("base_model", "dpo", "orpo")} | settings
    files = ["--train", place / "train.jsonl", "--validation", place / "validation.jsonl", "--template", template]
    named = ["--base-name", "owner/model", "--revision", "abc", *files, "--output", place / program]
    own = ["--base-model", folder] if program == "llama_factory" else []
    before = ["--before", "../../sft/adapter"] if tuning["method"] == "dpo" else []
    command = [sys.executable, f"scripts/{program}.py", "--settings", json.dumps(tuning), *named, *own, *before]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (name,) = place.joinpath(program).glob("*.yaml")
    return place / program, yaml.safe_load(name.read_text())


def test_the_turns_have_the_tokens_and_labels_of_our_own_training(base):
    out, values = written("llama_factory", base, THREADS, THREADS[:1])
    tokenizer = tokenizer_files.load(base[0])
    template = templates.with_tokens_of(templates.read_template(base[1]), tokenizer)
    for thread, row in zip(THREADS, read(out / "train.jsonl"), strict=True):
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        ids, labels = [], []
        for turn in row["messages"]:
            tokens = tokenizer(turn["content"], add_special_tokens=False)["input_ids"]
            ids += tokens
            labels += tokens if turn["role"] == "assistant" else [-100] * len(tokens)
        ours = templates.encode(thread["messages"], template, tokenizer)
        assert (ids, labels) == (ours.input_ids[: len(ids)], ours.labels[: len(ids)])
        assert all(label < 0 for label in ours.labels[len(ids) :])
    info = json.loads((out / "dataset_info.json").read_text())
    assert info[values["dataset"]]["file_name"] == "train.jsonl" and values["dataset_dir"] == "."
    assert info[values["eval_dataset"]]["file_name"] == "validation.jsonl"
    assert values["template"] == "empty" and values["stage"] == "sft" and values["neat_packing"] is True
    assert (values["model_name_or_path"], values["model_revision"]) == ("owner/model", "abc")
    assert (values["quantization_bit"], values["lora_rank"], values["lora_target"]) == (4, 64, "all")
    assert "# - tuning.too_long" in (out / "llama_factory.yaml").read_text()


@pytest.mark.parametrize("base", ["chatml"], indirect=True)
@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_preferences_are_ranked_replies_to_rendered_turns(base, method):
    lora = TUNING["lora"] | {"targets": ["q_proj", "v_proj"]}
    out, values = written("llama_factory", base, PAIRS, method=method, beta=0.2, lora=lora)
    (row,) = read(out / "train.jsonl")
    assert row["messages"][-1]["content"].endswith("E 3 + 3?<|im_end|>\n<|im_start|>assistant\n")
    assert (row["chosen"]["content"], row["rejected"]["content"]) == ("São 6.<|im_end|>", "I do not know.<|im_end|>")
    info = json.loads((out / "dataset_info.json").read_text())["mothertongue_train"]
    assert info["ranking"] is True and info["columns"]["chosen"] == "chosen"
    assert (values["stage"], values["pref_beta"]) == ("dpo", 0.2) and "eval_dataset" not in values
    assert (
        values["pref_loss"] == {"dpo": "sigmoid", "orpo": "orpo"}[method] and values["lora_target"] == "q_proj,v_proj"
    )
    # The reference of DPO is the adapter that it continues.
    adapters = {values.get("adapter_name_or_path"), values.get("ref_model_adapters")}
    assert adapters == ({"../../sft/adapter"} if method == "dpo" else {None})
    assert values.get("ref_model_quantization_bit") == (4 if method == "dpo" else None)


@pytest.mark.parametrize("base", ["llama3"], indirect=True)
def test_axolotl_learns_preferences_from_the_adapter_before(base):
    out, values = written("axolotl_dpo", base, PAIRS, PAIRS, method="dpo", beta=0.2)
    (row,) = read(out / "train.jsonl")
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user", "assistant", "user"]
    assert (row["chosen"][-1]["content"], row["rejected"][-1]["content"]) == ("São 6.", "I do not know.")
    assert row["prompt"][1]["content"] == "Quanto é 2 + 2? < /s>"
    assert (values["rl"], values["rl_beta"], values["lora_dropout"]) == ("dpo", 0.2, 0.0)
    assert values["lora_model_dir"] == "../../sft/adapter" and values["rl_adapter_ref_model"] is True
    (data,) = values["datasets"]
    assert (data["path"], data["field_messages"], data["type"]) == ("train.jsonl", "prompt", "chat_template.default")
    assert values["test_datasets"][0]["path"] == "validation.jsonl" and "sample_packing" not in values
