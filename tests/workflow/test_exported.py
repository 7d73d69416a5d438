"""Tests of exports with the real Snakemake and a tiny base model; tests/export tests GGUF files with a known model."""

import json
import re
import subprocess
import sys

import pytest
from running import ADAPTER
from tiny import family_tokenizer, save_tiny_mixture, save_tiny_model

from mothertongue.models import tokenizer_files
from mothertongue.prompts import templates

EXPORT = "results/demo/pt/export"


@pytest.fixture(scope="module")
def project(built):
    """Return the fully built project; each test tunes another model on its threads."""
    return built


def test_an_adapter_tuned_on_four_bits_is_merged_and_both_merges_are_measured(project):
    # With larger random weights, an error in the merge shows in the perplexity.
    save_tiny_model(project.root / "sharp", initializer_range=0.2)
    project.configure(tuning={"quantization": "nf4", "base_model": "sharp"})
    project.build(f"{EXPORT}/perplexity/models.json")
    found = json.loads((project.root / EXPORT / "perplexity/models.json").read_text())["perplexity"]
    assert set(found) == {"adapter", "merged, full", "merged, dequantized"}
    # tests/export/test_merging.py tests, with the weights, that the dequantised merge computes what was trained.
    assert all(abs(value / found["adapter"] - 1) < 0.02 for value in found.values())
    record = json.loads((project.root / EXPORT / "merged/fetched.json").read_text())
    assert record["merge_base"] == "full" and "model.safetensors" in record["files"]
    card = (project.root / EXPORT / "merged/README.md").read_text(encoding="utf-8")
    assert "answering in Portuguese" in card and str(project.root) not in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    folder = project.root / EXPORT / "merged"
    code = f"FOLDER = {str(folder)!r}\n{code}print(prompt['input_ids'][0].tolist(), end)"
    said = subprocess.run([sys.executable, "-c", code], cwd=project.root.parent, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    tokenizer, template = tokenizer_files.load_with_template(project.root / ADAPTER)
    training = json.loads((project.root / ADAPTER / "training.json").read_text())
    asked = [{"role": "system", "content": training["system_prompt"]}, {"role": "user", "content": "2 + 2 = ?"}]
    expected = templates.encode_prompt(asked, template, tokenizer), templates.end_of_turn(template, tokenizer)
    assert said.stdout.splitlines()[-1] == " ".join(map(str, expected))
    full = project.bytes(f"{EXPORT}/merged/model.safetensors")
    project.configure(export={"merge_base": "dequantized"})
    assert project.build(f"{EXPORT}/perplexity/models.json").jobs == {"merge": 1, "perplexity": 1}
    assert project.bytes(f"{EXPORT}/merged/model.safetensors") != full
    assert not list((project.root / EXPORT).glob(".*"))
    assert project.build(f"{EXPORT}/merged", ADAPTER).jobs == {}


def test_gptq_and_awq_are_calibrated_on_the_threads_and_measured(project):
    project.configure(export={"merge_base": "full", "calibration": {"sequences": 4, "length": 64, "steps": 0}})
    forms = ("gptq", "awq")
    run = project.build(*(f"{EXPORT}/perplexity/{form}.json" for form in forms))
    assert (run.jobs["check_shapes"], run.jobs["calibrate"], run.jobs["calibrated_perplexity"]) == (2, 2, 2)
    whole = json.loads((project.root / EXPORT / "perplexity/models.json").read_text())["perplexity"]
    for form in forms:
        found = json.loads((project.root / EXPORT / f"perplexity/{form}.json").read_text())["perplexity"]
        assert 0.001 < abs(found / whole["merged, full"] - 1) < 0.2
        record = json.loads((project.root / EXPORT / form / "fetched.json").read_text())
        assert record["kind"] == form and {"model.safetensors", "tokenizer.json", "README.md"} < set(record["files"])
    assert not (project.root / "ar_work_space").exists()
    project.configure(export={"calibration": {"sequences": 2, "length": 64, "steps": 0}})
    assert project.build(f"{EXPORT}/gptq", f"{EXPORT}/merged").jobs == {"calibrate": 1}


def test_unsupported_shapes_are_refused_before_tuning(project):
    save_tiny_model(project.root / "odd", hidden_size=40)
    # A tokenizer that llama.cpp knows, unlike that of the tiny model.
    family_tokenizer("llama2", "pieces").save_pretrained(project.root / "odd")
    project.configure(variants={"odd": {"base_model": "odd"}})
    for target, said in {
        "awq": "40 rows of 40 weights, cannot be packed as awq, which takes 8 rows at once, in multiples of 32 weights",
        "gguf/q4_k_m.gguf": "rows of 40 weights cannot be quantised to q4_k_m: llama.cpp takes multiples of 32; use f16",
    }.items():
        run = project.run(f"results/demo/pt/variants/odd/export/{target}")
        assert run.code != 0 and said in run.output and "tune" not in run.jobs and "merge" not in run.jobs


def test_what_llama_cpp_does_not_support_is_refused_before_tuning(project):
    save_tiny_mixture(project.root / "mixture")
    project.configure(variants={"mixture": {"base_model": "mixture", "quantization": "none"}})
    for target, said in {
        "gguf/q8_0.gguf": "base/mixture: llama.cpp's converter does not know this tokenizer, and a guess would spoil",
        "adapter.gguf": "one scale for all matrices of an adapter, and this one has alpha_pattern, rank_pattern; export",
    }.items():
        run = project.run(f"results/demo/pt/variants/mixture/export/{target}")
        assert run.code != 0 and said in run.output and "tune" not in run.jobs


def test_incompatible_export_settings_are_refused_before_any_job_runs(project):
    project.configure(tuning={"quantization": "none", "lora": {"dora": True}}, export={"merge_base": "dequantized"})
    for target, said in {
        "adapter.gguf": "llama.cpp lays no DoRA adapter over a model",
        "merged": "export.merge_base is dequantized, and the adapter's tuning.quantization is none, not nf4",
    }.items():
        run = project.run(f"{EXPORT}/{target}")
        assert run.code != 0 and f"{said}" in run.output and run.jobs == {}
