"""Tests of dry runs: they are fast, for several languages and also if everything is built, and show all resources."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from running import Project, copy_project

from mothertongue.workflow import dry_run

LANGUAGES = ["nl", "de", "fr", "it", "pt", "sv", "cs", "tr", "uk"]
TARGETS = [f"results/{lang}/adapter" for lang in LANGUAGES]


class Fresh(Project):
    """A project with the default configuration, run on this machine."""

    def command(self, *arguments):
        return [sys.executable, "-m", "snakemake", "--profile", "profiles/local", *arguments]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    root = tmp_path_factory.mktemp("fresh")
    copy_project(root)
    return Fresh(root)


def timed(project, *arguments):
    """Run a command twice; return the smaller CPU time in seconds, since other work runs beside it, and the output."""
    seconds = []
    for _ in range(2):
        before = os.times()
        done = subprocess.run(project.command(*arguments), cwd=project.root, capture_output=True, text=True, check=True)
        after = os.times()
        seconds.append(sum(after[2:4]) - sum(before[2:4]))
    return min(seconds), done.stdout + done.stderr


def test_nine_languages_are_planned_in_seconds_also_if_all_is_built(fresh):
    # Measured: 4 times as long as the start of Snakemake alone, and 5 times if all is built, since every job that waits
    # for split is then created twice. The limits are below twice that: on a busy machine it
    # was 6.6 times.
    start, _ = timed(fresh, "--version")
    seconds, output = timed(fresh, "-n", *TARGETS)
    jobs = int(re.search(r"^total +(\d+)$", output, re.MULTILINE)[1])
    assert jobs > 500 and seconds < 7.5 * start, (seconds, start)
    # Create all outputs, as an earlier run would have left them.
    for line in re.findall(r"^    (?:output|log|benchmark): (.*)$", output, re.MULTILINE):
        for name in line.split(", "):
            path = fresh.root / name
            if re.fullmatch(r"results/(?:models/\w+/[^/]+|\w+/adapter)", name):
                path.mkdir(parents=True, exist_ok=True)
                (path / "file").touch()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    fresh.build("--touch", "--forceall", *TARGETS)
    seconds, output = timed(fresh, "-n", *TARGETS)
    assert "Nothing to be done" in output and seconds < 9.5 * start, (seconds, start)


def test_parsing_the_rules_imports_no_heavy_packages(fresh):
    code = (
        "import sys, runpy; sys.argv = ['snakemake', '--profile', 'profiles/local', '-n', 'results/nl/adapter']\n"
        "before = []\n"
        "import snakemake.cli, snakemake.workflow\n"
        "snakemake.cli.parse_args(['-n'])\n"
        "before = set(sys.modules)\n"
        "include = snakemake.workflow.Workflow.include\n"
        "def watched(*a, **k):\n"
        "    include(*a, **k); print('NEW', *sorted({n.partition('.')[0] for n in set(sys.modules) - before}))\n"
        "snakemake.workflow.Workflow.include = watched\n"
        "snakemake.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=fresh.root, capture_output=True, text=True, timeout=60)
    imported = set(" ".join(re.findall(r"^NEW (.*)$", done.stdout, re.MULTILINE)).split())
    assert "mothertongue" in imported, done.stderr
    heavy = {
        "torch",
        "transformers",
        "datasets",
        "pandas",
        "pyarrow",
        "numpy",
        "ctranslate2",
        "sentencepiece",
        "huggingface_hub",
    }
    assert not imported & heavy


def test_the_dag_can_be_drawn_before_any_job_runs(fresh):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "results/nl/adapter", "--dag"],
        cwd=fresh.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("digraph") and done.stdout.count("translate") > 30


def test_every_rule_declares_its_resources(fresh):
    """A profile can override them."""
    output = fresh.build("-n", "--forceall", "results/nl/adapter", "results/nl/evaluation/metrics.json").output
    jobs = {job.rule: job for job in dry_run.parse_jobs(output)}
    assert set(jobs) >= {"fetch", "split", "pivot", "translate", "combine", "threads", "tune", "evaluate"}
    assert all(job.memory_mb and job.minutes and job.disk_mb for job in jobs.values())
    assert {rule for rule, job in jobs.items() if job.gpus} == {"pivot", "translate", "tune", "evaluate"}
    other = fresh.build(
        "-n", "--forceall", "results/nl/adapter", "--set-resources", "tune:runtime=60", "tune:gpu=2"
    ).output
    assert re.search(r"rule tune:.*?runtime=60, gpu=2", other, re.DOTALL)


def test_native_shards_and_firefox_models_request_no_gpu(fresh):
    values = yaml.safe_dump({"engine": "firefox"}, default_flow_style=True).strip()
    output = fresh.build(
        "-n", "--forceall", "results/nl/dataset/train.parquet", "--config", f"translation={values}"
    ).output
    assert "gpu=0" in output and "gpu=1" not in output


def test_publishing_an_adapter_runs_the_harness_if_tasks_are_configured(fresh):
    command = ["-n", "results/nl/published/adapter.json", "--config", "publication={namespace: me}"]
    for tasks in ("[belebele_nld_Latn]", "[]"):
        output = fresh.build(*command, f"evaluation={{harness: {tasks}}}").output
        assert bool(re.search(r"^harness +1$", output, re.MULTILINE)) == (tasks != "[]")


def test_an_estimator_with_a_model_is_fetched_before_anything_is_translated(fresh):
    quality = "quality={meaning: labse, meaning_threshold: 0.7}"
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/demo", "-n", "--config", quality, "--"]
    done = subprocess.run(
        [*command, "results/demo/pt/dataset/train.parquet"], cwd=fresh.root, capture_output=True, text=True
    )
    assert done.returncode == 0 and re.search(r"^fetch_estimator +1$", done.stdout, re.MULTILINE), done.stderr
    inputs = re.findall(r"^rule (\w+):\n    input: (.*)$", done.stdout, re.MULTILINE)
    own = [rule for rule, files in inputs if "results/demo/models/meaning/setu4993--LaBSE" in files]
    # Portuguese messages are not translated, and Spanish ones have no model here.
    assert own == ["translate", "translate"]
