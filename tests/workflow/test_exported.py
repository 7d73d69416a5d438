"""Exports through the real Snakemake, of a tiny base model; its GGUF files are tested with a model that llama.cpp knows."""

import json

from running import ADAPTER

EXPORT = "results/demo/pt/export"


def test_an_adapter_tuned_on_four_bits_is_merged_and_both_merges_are_measured(project):
    project.configure(tuning={"quantization": "nf4"})
    project.build(f"{EXPORT}/perplexity/models.json")
    found = json.loads((project.root / EXPORT / "perplexity/models.json").read_text())["perplexity"]
    assert set(found) == {"adapter", "merged, full", "merged, dequantized"}
    assert abs(found["merged, dequantized"] / found["adapter"] - 1) < 0.01
    record = json.loads((project.root / EXPORT / "merged/fetched.json").read_text())
    assert record["merge_base"] == "full" and "model.safetensors" in record["files"]
    card = (project.root / EXPORT / "merged/README.md").read_text(encoding="utf-8")
    assert "answering in Portuguese" in card and str(project.root) not in card
    project.configure(export={"merge_base": "dequantized"})
    assert project.build(f"{EXPORT}/perplexity/models.json").jobs == {"merge": 1, "perplexity": 1}
    assert project.build(f"{EXPORT}/merged", ADAPTER).jobs == {}


def test_what_does_not_go_together_is_refused_before_anything_runs(project):
    project.configure(tuning={"quantization": "none", "lora": {"dora": True}}, export={"merge_base": "dequantized"})
    for target, said in {
        "adapter.gguf": "llama.cpp lays no DoRA adapter over a model",
        "merged": "export.merge_base is dequantized, and the adapter's tuning.quantization is none, not nf4",
    }.items():
        run = project.run(f"{EXPORT}/{target}")
        assert run.code != 0 and f"{said}" in run.output and run.jobs == {}
