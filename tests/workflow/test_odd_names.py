"""Tests of odd values: braces, hyphens and empty texts work; unsupported paths are refused in one line."""

import shutil
import subprocess
import sys

import pytest
import yaml
from running import Project, copy_project

EVERYTHING = [
    f"results/demo/pt/{name}"
    for name in ("report.html", "export/README.md", "evaluation/harness.json", "published/adapter.json",
                 "preferences/train.jsonl", "variants/dp.o/report.html")
]  # fmt: skip


@pytest.fixture
def odd(built):
    """Return a project with a dataset whose name starts with a hyphen, no licence, and braces in texts."""
    shutil.copy(built.root / "messages.jsonl", built.root / "-x.jsonl")
    for name in ("-t.jinja", "-harness.yaml", "{fsdp}.yaml"):
        shutil.copy(built.root / "config/templates/chatml.jinja", built.root / name)
    values = {
        "source": {"dataset": "-x.jsonl", "licence": ""},
        "threads": {"prompt_format": "-t.jinja", "system_prompt": "{no} {{name}}"},
        "variants": {"dp.o": {"method": "dpo", "gpus": 2, "batch_size": 2, "fsdp": "{fsdp}.yaml"}},
        "evaluation": {"harness": ["-harness.yaml", "{task}"]},
        "publication": {"namespace": "me"},
    }
    (built.root / "odd.yaml").write_text(yaml.safe_dump(values))
    return built


def test_odd_values_reach_the_dataset_the_threads_and_the_cards(odd):
    made = [f"results/demo/pt/{name}" for name in ("dataset/README.md", "threads/train.jsonl")]
    odd.build("--configfile", "mine.yaml", "odd.yaml", "--", *made)
    card = (odd.root / made[0]).read_text()
    assert "license: unknown" in card and "-x.jsonl in Portuguese" in card
    thread = (odd.root / made[1]).read_text().splitlines()[0]
    assert "<|im_start|>" in thread and "{no} {{name}}" in thread
    adapter = odd.build("--configfile", "mine.yaml", "odd.yaml", "--", "results/demo/pt/adapter")
    assert adapter.jobs["tune"] == 1 and (odd.root / "results/demo/models/base").is_dir()


def test_odd_values_are_accepted_in_the_whole_graph(odd):
    plan = odd.build("-np", "--forceall", "--configfile", "mine.yaml", "odd.yaml", "--", *EVERYTHING)
    for rule in ("fetch", "tune", "evaluate", "harness", "report", "publish", "export_card", "preferences"):
        assert f"rule {rule}:" in plan.output, rule
    for value in ("--dataset=-x.jsonl", "--licence=", "--template=-t.jinja", "--fsdp={fsdp}.yaml", "--tasks={task}"):
        assert value in plan.output.replace("'", ""), value


def test_a_clone_below_a_folder_with_braces_is_refused_in_one_line(tmp_path):
    root = tmp_path / "a {x}" / "clone"
    root.mkdir(parents=True)
    copy_project(root)
    (root / "mine.yaml").write_text("{}\n")
    run = Project(root).run("-n", "results/demo/pt/adapter")
    errors = [line for line in run.output.splitlines() if "error: " in line]
    assert run.code != 0 and len(errors) == 1 and "Snakemake takes no {}" in errors[0], run
    assert "Traceback" not in run.output and f"{root}" in errors[0]
    planned = subprocess.run(
        [sys.executable, "scripts/plan.py", "nl", "--profile", "profiles/slurm"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert planned.returncode == 1 and "Snakemake takes no {}" in planned.stderr


def test_unsupported_names_are_refused_before_any_job_runs(odd):
    folder = odd.root / "a {x}"
    folder.mkdir()
    shutil.copy(odd.root / "messages.jsonl", folder / "data.jsonl")
    for name in ("a <x>.jsonl", "a\x1b[31m.jsonl"):
        shutil.copy(odd.root / "messages.jsonl", odd.root / name)
    shutil.copy(odd.root / "-t.jinja", folder / "t.jinja")
    shutil.copytree(yaml.safe_load((odd.root / "mine.yaml").read_text())["tuning"]["base_model"], folder / "base")
    braces = "the path 'a {x}/%s': Snakemake takes no {}, <> or control characters in it; rename it"
    for text, reason in (
        ("results: 'r {x}'", "configuration: results: 'r {x}' does not match"),
        ("variants: {no: {seed: 1}, on: {}, 1: {}}", "configuration: variants: the name False is not text"),
        ("source: {dataset: 'a {x}/data.jsonl'}", braces % "data.jsonl"),
        ("source: {dataset: 'a <x>.jsonl'}", "the path 'a <x>.jsonl': Snakemake takes no {}, <>"),
        (r'source: {dataset: "a\e[31m.jsonl"}', r"the path 'a\x1b[31m.jsonl': Snakemake takes no {}, <>"),
        ("results: 'r <x>'", "configuration: results: 'r <x>' does not match"),
        ("threads: {prompt_format: 'a {x}/t.jinja'}", braces % "t.jinja"),
        ("tuning: {base_model: 'a {x}/base'}", "the path 'a {x}/base/"),
        ("translation: {models: {en-pt: 'a {x}/base'}}", "the path 'a {x}/base/"),
        ("evaluation: {harness: ['a {x}/task.yaml']}", braces % "task.yaml"),
    ):
        (odd.root / "bad.yaml").write_text(text)
        target = f"results/demo/pt/{'evaluation/harness.json' if 'harness' in text else 'adapter'}"
        run = odd.run("-n", "--configfile", "mine.yaml", "bad.yaml", "--", target)
        errors = [line for line in run.output.splitlines() if line.startswith("error: ")]
        assert run.code != 0 and len(errors) == 1 and reason in errors[0] and "Traceback" not in run.output, run
