"""Looking first is fast: the plan of a whole build on a fresh copy, of several languages, and of what is built."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from running import Project, copy_project

from mothertongue.workflow import dry_run

LANGUAGES = ["nl", "de", "fr", "it", "pt", "sv", "da", "fi", "pl", "cs", "tr", "uk"]
TARGETS = [f"results/{lang}/adapter" for lang in LANGUAGES]


class Fresh(Project):
    """OASST1 as configured, on this machine."""

    def command(self, *arguments):
        return [sys.executable, "-m", "snakemake", "--profile", "profiles/local", *arguments]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    root = tmp_path_factory.mktemp("fresh")
    copy_project(root)
    return Fresh(root)


def timed(project, *arguments):
    """A run, and the seconds of a processor that the faster of two took: other work goes on beside it."""
    seconds = []
    for _ in range(2):
        before = os.times()
        done = subprocess.run(project.command(*arguments), cwd=project.root, capture_output=True, text=True, check=True)
        after = os.times()
        seconds.append(sum(after[2:4]) - sum(before[2:4]))
    return min(seconds), done.stdout + done.stderr


def test_twelve_languages_are_planned_in_seconds_also_when_all_is_built(fresh):
    # Measured: four times as long as Snakemake's own start, and five times where all is built, since every job that
    # waits for split is then made twice. The limits leave half as much again to a busy machine.
    start, _ = timed(fresh, "--version")
    seconds, output = timed(fresh, "-n", *TARGETS)
    jobs = int(re.search(r"^total +(\d+)$", output, re.MULTILINE)[1])
    assert jobs > 500 and seconds < 6 * start, (seconds, start)
    # All of it is there, as an earlier run would have left it.
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
    assert "Nothing to be done" in output and seconds < 8 * start, (seconds, start)


def test_parsing_imports_nothing_heavy(fresh):
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


def test_the_dag_is_drawn_before_anything_runs(fresh):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "results/nl/adapter", "--dag"],
        cwd=fresh.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("digraph") and done.stdout.count("translate") > 30


def test_every_rule_says_what_it_needs(fresh):
    """And a profile can say otherwise."""
    output = fresh.build("-n", "--forceall", "results/nl/adapter", "results/nl/evaluation/metrics.json").output
    jobs = {job.rule: job for job in dry_run.parse_jobs(output)}
    assert set(jobs) >= {"fetch", "split", "pivot", "translate", "combine", "threads", "tune", "evaluate"}
    assert all(job.memory_mb and job.minutes and job.disk_mb for job in jobs.values())
    assert {rule for rule, job in jobs.items() if job.gpus} == {"pivot", "translate", "tune", "evaluate"}
    other = fresh.build(
        "-n", "--forceall", "results/nl/adapter", "--set-resources", "tune:runtime=60", "tune:gpu=2"
    ).output
    assert re.search(r"rule tune:.*?runtime=60, gpu=2", other, re.DOTALL)


def test_native_shards_and_firefox_models_ask_for_no_gpu(fresh):
    values = yaml.safe_dump({"engine": "firefox"}, default_flow_style=True).strip()
    output = fresh.build(
        "-n", "--forceall", "results/nl/dataset/train.parquet", "--config", f"translation={values}"
    ).output
    assert "gpu=0" in output and "gpu=1" not in output


def test_an_adapter_goes_to_the_hub_with_the_harness_results_where_tasks_are_named(fresh):
    command = ["-n", "results/nl/published/adapter.json", "--config", "publication={namespace: me}"]
    for tasks in ("[belebele_nld_Latn]", "[]"):
        output = fresh.build(*command, f"evaluation={{harness: {tasks}}}").output
        assert bool(re.search(r"^harness +1$", output, re.MULTILINE)) == (tasks != "[]")
