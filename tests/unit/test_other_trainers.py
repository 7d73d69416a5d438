"""What other trainers are given: the configuration's values under their names, the threads where they are."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TUNING = yaml.safe_load(Path("config/config.yaml").read_text())["tuning"]


def written(folder, template="config/templates/llama3.jinja", **settings):
    done = subprocess.run(
        [sys.executable, "scripts/other_trainers.py", "--settings", json.dumps(TUNING | settings),
         "--base-model", "owner/model", "--revision", "abc", "--train", "../threads/train.jsonl",
         "--validation", "../threads/validation.jsonl", "--template", template, "--output", folder],
        capture_output=True, text=True,
    )  # fmt: skip
    return done


@pytest.mark.parametrize("family", ["llama2", "llama3", "mistral", "chatml", "gemma", "phi3", "zephyr"])
def test_each_has_the_settings_and_the_threads(tmp_path, family):
    done = written(tmp_path, f"config/templates/{family}.jinja")
    assert done.returncode == 0, done.stderr
    axolotl = yaml.safe_load((tmp_path / "axolotl.yaml").read_text())
    assert (axolotl["base_model"], axolotl["revision_of_model"], axolotl["adapter"]) == ("owner/model", "abc", "qlora")
    assert axolotl["lora_r"] == TUNING["lora"]["rank"] and axolotl["learning_rate"] == TUNING["learning_rate"]
    assert axolotl["lora_target_linear"] is True and "lora_target_modules" not in axolotl
    assert axolotl["datasets"][0]["path"] == "../threads/train.jsonl"
    assert "generation" not in axolotl["chat_template_jinja"].replace("add_generation_prompt", "")
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["mothertongue_train"]["file_name"] == "../threads/train.jsonl"
    assert info["mothertongue_train"]["tags"]["assistant_tag"] == "assistant"
    script = ast.parse((tmp_path / "unsloth_train.py").read_text())
    given = {
        keyword.arg: ast.literal_eval(keyword.value)
        for node in ast.walk(script)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if isinstance(keyword.value, ast.Constant | ast.List)
    }
    assert (given["r"], given["lora_alpha"], given["load_in_4bit"]) == (64, 16, True)
    assert given["response_part"] and given["instruction_part"] != given["response_part"]


def test_dora_and_chosen_layers_come_through(tmp_path):
    lora = TUNING["lora"] | {"dora": True, "rslora": True, "targets": ["q_proj"]}
    assert written(tmp_path, lora=lora, quantization="none").returncode == 0
    axolotl = yaml.safe_load((tmp_path / "axolotl.yaml").read_text())
    assert axolotl["adapter"] == "lora" and axolotl["lora_target_modules"] == ["q_proj"]
    assert axolotl["peft_use_dora"] and axolotl["peft_use_rslora"] and not axolotl["load_in_4bit"]
    script = (tmp_path / "unsloth_train.py").read_text()
    assert "use_dora=True" in script and "target_modules=['q_proj']" in script


def test_preferences_are_refused(tmp_path):
    done = written(tmp_path, method="dpo")
    assert done.returncode == 1 and "are of sft, and tuning.method is dpo" in done.stderr
    assert not list(tmp_path.iterdir())
