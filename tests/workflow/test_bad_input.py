"""Tests of invalid input: Snakemake ends with one line that states the error, and writes nothing."""

import json
import subprocess
import sys

import pytest
from oasst import row, write
from running import ADAPTER

NOT_STARTED = {
    "a setting of a variant that its method overrides": (
        ["--config", "variants={odds: {method: orpo, learning_rate: 1.0e-4}}"],
        "variants.odds.learning_rate is not used in orpo; set variants.odds.orpo.learning_rate",
    ),
    "an unknown language": (
        ["results/demo/ptt/adapter"],
        "unknown target language 'ptt', did you mean 'pt' (Portuguese)?",
    ),
    "an unknown quantisation": (
        ["results/demo/pt/export/gguf/q3_k_l.gguf"],
        "unknown target results/demo/pt/export/gguf/q3_k_l.gguf; below results/demo/pt/export/gguf/ there are f16.gguf, q8_0",
    ),
    "an unknown export": (
        ["results/demo/pt/variants/a/export/exl2"],
        "below results/demo/pt/variants/a/export/ there are merged, gptq, awq, adapter.gguf, ",
    ),
    "an unknown key": (
        ["--config", "tunning={max_steps: 2}"],
        "configuration: unknown key 'tunning'; did you mean 'tuning'?",
    ),
    "a wrong value": (
        ["--config", "tuning={max_steps: soon}"],
        "configuration: tuning.max_steps: 'soon' is not of type",
    ),
    "a missing file": (["--config", "source={dataset: none.jsonl}"], "source.dataset: no such file: none.jsonl"),
    "GPUs that a step cannot be shared out among": (
        ["--config", "tuning={gpus: 8}"],
        "cannot be shared out among 8 GPUs; make it a multiple of 8",
    ),
    "patience without a look": (
        ["--config", "variants={slow: {validation: {interval: null, patience: 2}}}"],
        "variants.slow.validation.patience needs an interval",
    ),
    "a variant's name that leads elsewhere": (
        ["--config", "variants={..: {seed: 1}}"],
        "configuration: variants: '..'",
    ),
    "no dataset": (["--config", "source={dataset: oops}"], "source.dataset 'oops': no such file, and not a hub id"),
    "a bad reference": (
        ["--config", "tuning={base_model: ./nowhere}"],
        "bad model reference './nowhere': no such folder",
    ),
    "a bad template": (
        ["--config", "threads={prompt_format: my.jinja}"],
        "threads.prompt_format: no such template: my.jinja",
    ),
    "an unknown template": (
        ["--config", "threads={prompt_format: llama4}"],
        "expected: auto, tokenizer, llama2, llama3, mistral, chatml, gemma, phi3, zephyr or a .jinja file",
    ),
}
NOT_STARTED |= {
    "an unknown engine": (
        ["--config", "translation={engine: opusmt}"],
        "unknown translation engine 'opusmt', did you mean 'opus-mt'?",
    ),
    "a licence that was not asked for": (
        ["--config", "translation={engine: nllb}"],
        "(cc-by-nc-4.0) forbids commercial use; set translation.allow_noncommercial to true",
    ),
    "preferences where only threads are translated": (
        ["results/demo/pt/preferences/train.jsonl", "--config", "source={scope: threads}"],
        "source.scope: threads does not translate; set source.scope to all",
    ),
    "a fallback's licence": (
        ["--config", "translation={fallback: seamless-m4t}"],
        "the licence of facebook/seamless-m4t-v2-large (cc-by-nc-4.0) forbids commercial use",
    ),
    "a model for all pairs where each has its own": (
        ["--config", "translation={model: a/b}"],
        "translation.model: firefox has a model for each pair; use translation.models",
    ),
    "an unknown source language": (
        ["--config", "source={languages: [en, ess]}"],
        "source.languages: unknown language 'ess', did you mean 'es' (Spanish)?",
    ),
    "a GPU for an engine that has no use for it": (
        ["--config", "translation={device: cuda}"],
        "translation.device is cuda, and the firefox engine runs on CPUs only",
    ),
    "a country's code among the source languages": (
        ["--config", "source={languages: [en, jp]}"],
        "source.languages: unknown language 'jp', did you mean 'ja' (Japanese)?",
    ),
    "an unknown language in a pair": (
        ["--config", "translation={models: {en-xx: a/b}}"],
        "translation.models 'en-xx': unknown language 'xx'",
    ),
    "a Firefox model that is no pair": (
        ["--config", "translation={models: {en-pt: 'firefox:enpt'}}"],
        "bad model reference 'firefox:enpt': expected firefox:SOURCE/TARGET",
    ),
}
REFUSED = {
    "an empty file": ([], "m.jsonl: no messages in it"),
    "not JSON": ("{oops", "m.jsonl: line 1: not JSON"),
    "a duplicate": ([row("a"), row("a")], "m.jsonl: line 2: message_id a was used before, in line 1"),
    "a cycle": ([row("a", "b", "t"), row("b", "a", "t")], "line 1: message a is its own ancestor"),
    "an unknown role": ([row("a", role="user")], "m.jsonl: line 1: unknown role 'user'"),
    "no root": ([row("a", "x", "t"), row("b", "x", "u")], "source.dataset: none of 2 trees has a root"),
    "labels of no known form": ([row("a", labels={"spam": 1})], "m.jsonl: line 1: column 'labels': expected an object"),
    "more than the limits": ([row("a", text="a" * 17_000_000)], "m.jsonl: line 1: longer than 16 MB; source.limits."),
}


@pytest.fixture(autouse=True)
def configured_as_before(request):
    """Restore the configuration after each test, so that the next one does not fail because of it."""
    if "project" not in request.fixturenames:
        yield
        return
    path = request.getfixturevalue("project").root / "mine.yaml"
    before = path.read_text()
    yield
    path.write_text(before)


@pytest.mark.parametrize("case", NOT_STARTED)
def test_invalid_input_is_refused_before_any_job_runs(project, case):
    arguments, expected = NOT_STARTED[case]
    targets = [] if arguments[0].startswith("results") else ["--", ADAPTER]
    run = project.run(*arguments, *targets)
    errors = [line for line in run.output.splitlines() if line.startswith("error: ")]
    assert run.code != 0 and run.jobs == {}, run
    assert len(errors) == 1 and expected in errors[0], run
    assert "Traceback" not in run.output
    assert not (project.root / "results/demo/source").exists()


@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_dataset_is_refused_by_fetch(project, case):
    rows, expected = REFUSED[case]
    path = project.root / "m.jsonl"
    if isinstance(rows, str):
        path.write_text(rows)
    else:
        write(path, *rows)
    run = project.run("--config", "source={dataset: m.jsonl}", "--", "results/demo/pt/dataset/train.parquet")
    errors = [line for line in run.output.splitlines() if line.startswith("fetch.py: error: ")]
    assert run.code != 0 and len(errors) == 1 and expected in errors[0], run
    assert "Traceback" not in run.output
    assert not list((project.root / "results/demo").glob("source/*"))


def test_a_dataset_without_messages_in_the_source_languages_is_refused(project):
    write(project.root / "m.jsonl", row("a", lang="ko", text="안녕하세요"), row("b", "a", lang="ko", text="네"))
    run = project.run("--config", "source={dataset: m.jsonl}", "--", "results/demo/pt/dataset/train.parquet")
    assert run.code != 0
    assert "no message in any of source.languages; it has ko (2)" in run.output
    assert not list((project.root / "results/demo").glob("source/shards/*/*"))


def test_scripts_are_separate_source_languages_and_empty_messages_are_in_no_thread(project):
    """Traditional Chinese is native for itself, but not for Simplified; the accounts contain every message."""
    rows = [row("a", lang="zh-TW", text="請問貓是什麼動物？"), row("b", "a", lang="zh-TW", text="\u200b", rank=0)]
    rows += [row("c", "a", lang="zh-Hant", text="貓是一種可愛的動物。", rank=1)]
    write(project.root / "m.jsonl", *rows)
    project.configure(source={"dataset": "m.jsonl", "languages": ["zh-Hant"], "validation": 0})
    run = project.run("--", "results/demo/zh-Hant/threads/train.jsonl")
    assert run.code == 0, run
    folder = project.root / "results/demo/zh-Hant"
    (thread,) = map(json.loads, (folder / "threads/train.jsonl").read_text().splitlines())
    assert [turn["content"] for turn in thread["messages"]][-2:] == [rows[0]["text"], rows[2]["text"]]
    account = json.loads((folder / "threads/train.accounting.json").read_text())
    assert account["messages"] == {"empty": 1, "in a thread": 2}
    total = json.loads((folder / "dataset/accounting.json").read_text())["total"]
    assert total["messages"] == sum(total["status"].values()) == 3 and total["status"]["native"] >= 2
    project.configure(source={"dataset": "m.jsonl", "languages": ["zh"], "validation": 0})
    run = project.run("--", "results/demo/zh/dataset/train.parquet")
    assert run.code != 0 and "no message in any of source.languages; it has zh-Hant (3)" in run.output, run


@pytest.mark.parametrize(
    ("arguments", "target", "expected"),
    [
        (["--config", "translation={models: {en-pt: 'package:no_such/model'}}"], "pt/dataset/train.parquet",
         "the Python package 'no_such' is not installed here; install it with pip"),
        (["--config", "tuning={base_model: 'package:json/model'}"], "pt/adapter", "the installed package 'json' has no model"),
    ],
)  # fmt: skip
def test_an_unavailable_model_is_reported_in_one_line(project, arguments, target, expected):
    run = project.run(*arguments, "--", f"results/demo/{target}")
    assert run.code != 0 and expected in run.output and "Traceback" not in run.output, run
    assert not list((project.root / "results/demo/models").glob("*/no_such*"))


def test_the_default_configuration_can_be_planned_without_a_network(project):
    (project.root / "empty.yaml").write_text("{}\n")
    run = project.run("-n", "--snakefile=Snakefile", "--configfile=empty.yaml", "results/nl/adapter")
    assert run.code == 0, run
    for line in (
        "fetch_base_model               1",
        "fetch_chat_template            1",
        "tune                           1",
        "combine                        1",
    ):
        assert line in run.output
    assert "Helsinki-NLP/opus-mt-en-nl" in run.output or "opus-mt-en-nl" in run.output


def test_for_an_unreachable_hub_the_error_names_the_model_to_fetch(project, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    project.configure(
        source={"dataset": "messages.jsonl"}, translation={"engine": "opus-mt", "models": {"en-pt": "a/b"}}
    )
    run = project.run("--", "results/demo/models/translation/a--b")
    errors = [line for line in run.output.splitlines() if "error: " in line and ".py:" in line]
    assert run.code != 0 and len(errors) == 1, run
    assert "'a/b'" in errors[0] and "without a network, fetch it elsewhere and name its local folder" in errors[0]
    assert not (project.root / "results/demo/models/translation/a--b").exists()


def test_a_second_run_on_the_same_results_is_refused_before_it_removes_files(project, tmp_path):
    results = tmp_path / "results"
    target = ("--config", f"results={results}", "--", f"{results}/source/messages.parquet")
    assert project.run(*target).code == 0
    before = (results / "source/messages.parquet").stat()
    hold = (
        "from pathlib import Path; from mothertongue.workflow import runs;"
        f"runs.join(Path({str(results)!r}), Path('/')); print(flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold], cwd=project.root / "scripts", **pipes) as other:
        other.stdout.readline()
        refused = project.run("--forcerun", "fetch", *target)
        other.communicate(b"\n")
    assert refused.code == 1 and f"error: {results}: a run in / is writing there; wait for it" in refused.output
    assert not refused.jobs and (results / "source/messages.parquet").stat() == before
    assert "Traceback" not in refused.output and project.run("--forcerun", "fetch", *target).jobs == {"fetch": 1}
