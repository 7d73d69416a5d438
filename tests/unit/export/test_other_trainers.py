"""Tests of the export for other trainers: their settings have the configuration's values, their threads are text."""

import ast
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from official_templates import OURS, OWN, shipped
from tiny import FAMILIES

from mothertongue.prompts.template_parts import literal_end
from mothertongue.prompts.templates import Template

# Templates that end a turn with a literal token; the others use the tokenizer's end-of-text token.
ENDS = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "phi3": "<|end|>"}
TUNING = yaml.safe_load(Path("config/config.yaml").read_text())["tuning"]


def written(folder, template="config/templates/llama3.jinja", said="Olá!", held_out=1, base="owner/model", **settings):
    for split in ("train", "validation"):
        turns = [("system", "Responda."), ("user", said), ("assistant", f" {said}\n")]
        messages = [{"role": role, "content": text, "message_id": role} for role, text in turns]
        row = {"thread_id": "a", "messages": messages, "text": said}
        (folder / f"{split}.jsonl").write_text((json.dumps(row) + "\n") * (held_out if split == "validation" else 1))
    return subprocess.run(
        [sys.executable, "scripts/other_trainers.py", "--settings", json.dumps(TUNING | settings),
         "--base-model", base, "--revision", "abc", "--train", folder / "train.jsonl",
         "--validation", folder / "validation.jsonl", "--template", template, "--output", folder / "export"],
        capture_output=True, text=True,
    )  # fmt: skip


def axolotl_of(folder):
    return yaml.safe_load((folder / "export/axolotl.yaml").read_text())


def calls(folder):
    """Return the keyword arguments of each call in Unsloth's script, as Python source."""
    return {
        ast.unparse(node.func): {k.arg: ast.unparse(k.value) for k in node.keywords}
        for node in ast.walk(ast.parse((folder / "export/unsloth_train.py").read_text()))
        if isinstance(node, ast.Call)
    }


@pytest.mark.costly
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("tokens", [{}, {"bos_token": "<s>", "eos_token": "</s>"}], ids=["unknown", "known"])
def test_a_literal_end_of_turn_token_is_recognised(name, tokens):
    source, family = OWN[name]
    assert literal_end(Template(source, tokens)) == ENDS.get(family)


@pytest.mark.parametrize("family", [*FAMILIES, "smollm2", "qwen2_5"])
def test_each_trainer_gets_the_settings_and_the_threads(tmp_path, family):
    template = tmp_path / "template.jinja"
    template.write_text(OURS.get(family) or OWN[family][0])
    done = written(tmp_path, template)
    assert done.returncode == 0, done.stderr
    axolotl = axolotl_of(tmp_path)
    assert (axolotl["base_model"], axolotl["revision_of_model"], axolotl["adapter"]) == ("owner/model", "abc", "qlora")
    assert axolotl["lora_r"] == TUNING["lora"]["rank"] and axolotl["learning_rate"] == TUNING["learning_rate"]
    assert axolotl["lora_target_linear"] is True and "lora_target_modules" not in axolotl
    assert axolotl["datasets"][0]["path"] == "threads/train.jsonl" and axolotl["bf16"] == "auto"
    # Otherwise Axolotl would train only the tokenizer's end-of-text token.
    end = ENDS.get(family if family in OURS else OWN[family][1])
    assert axolotl.get("eot_tokens") == ([end] if end else None)
    assert "generation" not in axolotl["chat_template_jinja"].replace("add_generation_prompt", "")
    info = json.loads((tmp_path / "export/dataset_info.json").read_text())
    assert info["mothertongue_validation"]["file_name"] == "threads/validation.jsonl"
    assert info["mothertongue_train"]["tags"]["assistant_tag"] == "assistant"
    given = calls(tmp_path)
    assert (given["dict"]["r"], given["dict"]["lora_alpha"]) == ("64", "16")
    assert given["FastLanguageModel.from_pretrained"]["load_in_4bit"] == "True"
    files = {split: f"threads/{split}.jsonl" for split in ("train", "validation")}
    assert ast.literal_eval(given["load_dataset"]["data_files"]) == files
    parts = given["train_on_responses_only"]
    question, answer = (ast.literal_eval(parts[f"{name}_part"]) for name in ("instruction", "response"))
    assert question.strip() and answer.strip() and question not in answer
    if template.read_text().count("im_start"):
        assert question == "<|im_start|>user\n" and answer.endswith("<|im_start|>assistant\n")


def test_control_tokens_in_messages_are_exported_as_text(tmp_path):
    tokens = {"added_tokens_decoder": {"5": {"content": "<own>", "special": True}}}
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens | {"chat_template": OURS["chatml"]}))
    assert written(tmp_path, folder, said="[INST] <|im_end|> <own> <b>").returncode == 0
    for split in ("train", "validation"):
        (line,) = (tmp_path / f"export/threads/{split}.jsonl").read_text().splitlines()
        assert json.loads(line)["messages"] == [
            {"role": "system", "content": "Responda."},
            {"role": "user", "content": "[ INST] < |im_end|> < own> <b>"},
            {"role": "assistant", "content": "[ INST] < |im_end|> < own> <b>"},
        ]


def test_a_template_that_unsloth_does_not_support_affects_only_its_script(tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text(shipped("qwen3"))
    assert written(tmp_path, template).returncode == 0
    assert axolotl_of(tmp_path)["chat_template_jinja"] == shipped("qwen3")
    script = subprocess.run([sys.executable, tmp_path / "export/unsloth_train.py"], capture_output=True, text=True)
    assert script.returncode == 1 and script.stderr.startswith("unsloth_train.py: Unsloth cannot tell")


def test_each_file_lists_the_settings_that_the_trainer_does_not_support(tmp_path):
    lora = TUNING["lora"] | {"plus": 16}
    assert written(tmp_path, lora=lora, target_tokens=5000, gpus=2).returncode == 0
    for file, notes in {
        "axolotl.yaml": {"too_long", "target_tokens", "gpus"},
        "unsloth_train.py": {"too_long", "target_tokens", "gpus", "packing", "lora.plus", "lora.targets"},
    }.items():
        text = (tmp_path / "export" / file).read_text()
        assert set(re.findall(r"^# - tuning\.([a-z_.]+)", text, re.MULTILINE)) == notes
    assert axolotl_of(tmp_path)["loraplus_lr_ratio"] == 16
    assert (
        written(tmp_path, too_long="cut", packing=False, lora=TUNING["lora"] | {"targets": ["q_proj"]}).returncode == 0
    )
    assert not any("# - " in (tmp_path / "export" / file).read_text() for file in ("axolotl.yaml", "unsloth_train.py"))


def test_validation_patience_and_dtype_are_exported(tmp_path):
    assert written(tmp_path, validation={"interval": 0.25, "patience": 3}, dtype="bfloat16").returncode == 0
    axolotl, given = axolotl_of(tmp_path), calls(tmp_path)
    assert (axolotl["eval_steps"], axolotl["save_steps"], axolotl["early_stopping_patience"]) == (0.25, 0.25, 3)
    assert axolotl["bf16"] is True and axolotl["load_best_model_at_end"] is True
    config, trainer = given["SFTConfig"], given["SFTTrainer"]
    assert (config["eval_steps"], config["save_steps"], config["bf16"]) == ("0.25", "0.25", "True")
    assert config["load_best_model_at_end"] == "True" and trainer["callbacks"] == "[EarlyStoppingCallback(3)]"
    assert given["FastLanguageModel.from_pretrained"]["dtype"] == "torch.bfloat16"


@pytest.mark.parametrize("held_out, interval", [(1, None), (0, 0.25)])
def test_without_validation_no_evaluation_is_configured(tmp_path, held_out, interval):
    validation = {"interval": interval, "patience": 3}
    assert written(tmp_path, held_out=held_out, validation=validation, dtype="float16").returncode == 0
    axolotl, given = axolotl_of(tmp_path), calls(tmp_path)
    assert not {"test_datasets", "eval_steps", "early_stopping_patience"} & set(axolotl)
    assert (axolotl["bf16"], axolotl["fp16"], given["SFTConfig"]["fp16"]) == (False, True, "True")
    assert not {"eval_dataset", "callbacks"} & set(given["SFTTrainer"])
    assert "validation" not in given["load_dataset"]["data_files"]


def test_warmup_is_a_number_of_steps(tmp_path):
    """transformers 4 reads a fraction as a number of steps, and transformers 5 has no warmup_ratio."""
    for settings, count, steps in (
        ({"epochs": 1.5, "batch_size": 3, "accumulation": 2}, 31, 9),
        ({"max_steps": 70}, 31, 70),
    ):
        assert written(tmp_path, **settings).returncode == 0
        line = next(
            x for x in (tmp_path / "export/unsloth_train.py").read_text().splitlines() if x.startswith("steps = ")
        )
        names = {"math": math, "threads": {"train": range(count)}}
        exec(line, names)
        assert names["steps"] == steps and eval(calls(tmp_path)["SFTConfig"]["warmup_steps"], names) == math.ceil(
            0.03 * steps
        )


def test_dora_and_chosen_layers_are_exported(tmp_path):
    lora = TUNING["lora"] | {"dora": True, "rslora": True, "targets": ["q_proj"]}
    assert written(tmp_path, lora=lora, quantization="none", dtype="float32").returncode == 0
    axolotl = axolotl_of(tmp_path)
    assert axolotl["adapter"] == "lora" and axolotl["lora_target_modules"] == ["q_proj"]
    assert axolotl["peft_use_dora"] and axolotl["peft_use_rslora"] and not axolotl["load_in_4bit"]
    assert axolotl["attn_implementation"] == "sdpa"  # flash attention does not support float32
    script = (tmp_path / "export/unsloth_train.py").read_text()
    assert "use_dora=True" in script and "target_modules=['q_proj']" in script


ODD = ["x'\"\"\"\n'''import os\n", "{x}\\", "x\n---\ny: 1", "\x1b\u202e\u2028"]


@pytest.mark.parametrize("odd", ODD)
def test_hostile_names_and_templates_stay_values(tmp_path, odd):
    template = tmp_path / "template.jinja"
    source = OURS["chatml"].replace("<|im_start|>", "<|im_start|>" + repr(odd)[1:-1])
    template.write_text(source)
    lora = TUNING["lora"] | {"targets": [odd], "plus": odd}
    done = written(tmp_path, template, base=f"./{odd}", lora=lora, epochs=odd, gpus=2)
    assert done.returncode == 0, done.stderr
    axolotl, given = axolotl_of(tmp_path), calls(tmp_path)
    assert axolotl["base_model"] == f"./{odd}" and axolotl["lora_target_modules"] == [odd]
    assert "im_start" in axolotl["chat_template_jinja"] and "y" not in axolotl
    assert ast.literal_eval(given["FastLanguageModel.from_pretrained"]["model_name"]) == f"./{odd}"
    assert ast.literal_eval(given["dict"]["target_modules"]) == [odd]
    names = [n.name for node in ast.walk(ast.parse((tmp_path / "export/unsloth_train.py").read_text()))
             if isinstance(node, ast.Import) for n in node.names]  # fmt: skip
    assert names == ["math"]
    assert odd in ast.literal_eval(given["train_on_responses_only"]["instruction_part"])


def test_preferences_are_refused(tmp_path):
    done = written(tmp_path, method="dpo")
    assert done.returncode == 1 and "are of sft, and tuning.method is dpo" in done.stderr
    assert not (tmp_path / "export").exists()
