"""Tests of profiles for clusters without Slurm, or without conda; a stand-in runs what is submitted, in the background."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from running import Project

PROFILE = Path("profiles/cluster-generic/config.yaml")
# Notes its arguments, runs the script at their end as a job of its own, and prints an id.
QSUB = """#!/bin/sh
echo "$*" >> "$SUBMITTED"
for script; do :; done
setsid sh "$script" >> jobs.out 2>&1 &
echo $!
"""


class Cluster(Project):
    """A project on the login node of a cluster whose scheduler is the stand-in."""

    def command(self, *arguments: str) -> list[str]:
        options = ["--profile", "profiles/cluster-generic", "--configfile", "config/demo.yaml", "mine.yaml"]
        # The jobs are short, and the disk is this machine's.
        return [sys.executable, "-m", "snakemake", *options, "--latency-wait=5", "--seconds-between-status-checks=1",
            *arguments]  # fmt: skip

    def environment(self) -> dict[str, str]:
        found = super().environment()
        return found | {"PATH": f"{self.root}/bin:{found['PATH']}", "SUBMITTED": str(self.root / "submitted")}

    def submitted(self) -> list[str]:
        """Return the commands of the jobs that were submitted since the last call."""
        path = self.root / "submitted"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture(scope="module")
def cluster(project):
    write_program(project.root / "bin/qsub", QSUB)
    return Cluster(project.root)


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def rules_of(commands: list[str]) -> list[str]:
    return sorted(re.search(r" -N (\w+) ", command)[1] for command in commands)


def test_another_scheduler_gets_the_jobs_with_what_they_need(cluster):
    cluster.build("results/demo/pt/adapter", "--set-resources", "tune:runtime=7")
    commands = cluster.submitted()
    assert rules_of(commands) == ["translate"] * 5 + ["tune"]
    tune = next(command for command in commands if "-N tune " in command)
    assert "-pe smp 8 -l h_vmem=3000M -l h_rt=420 -l gpu=1 " in tune
    assert sum("-l gpu=0 " in command for command in commands) == 5
    # Tuning knows when its job ends, and saves a checkpoint before.
    assert "--time-budget=7" in (cluster.root / "jobs.out").read_text(errors="replace")
    assert (cluster.root / "results/demo/pt/adapter/training.json").is_file()


def test_models_are_fetched_in_jobs_where_the_site_wants_it(cluster):
    options = ("--forceall", "--config", "fetch_in_jobs=true")
    cluster.build("results/demo/source/fetched.json", *options)
    assert rules_of(cluster.submitted()) == ["fetch"]
    command = [sys.executable, "scripts/plan.py", "results/demo/pt/adapter", "--all", "--profile",
        "profiles/cluster-generic", "--configfile", "config/demo.yaml", "mine.yaml", "--config"]  # fmt: skip
    for value, where in (("true", "Cluster-generic"), ("false", "local")):
        planned = subprocess.run(
            [*command, f"fetch_in_jobs={value}"], cwd=cluster.root, capture_output=True, text=True, check=True
        ).stdout
        places = dict(re.findall(r"^(\w+) +\d+  ([\w-]+) ", planned, re.MULTILINE))
        fetched = {places[rule] for rule in ("fetch", "fetch_translation_model", "fetch_base_model")}
        assert fetched == {where} and places["combine"] == "local", planned


@pytest.mark.parametrize("name", ["mine.yaml", "config/languages.tsv"])
def test_no_job_computes_by_a_configuration_that_was_edited_after_its_run_began(cluster, name):
    """Its Snakemake would record what it made as made by the configuration of before the edit."""
    shard, edited = "results/demo/pt/translated/en/0.parquet", cluster.root / name
    before = edited.read_text()
    edit = {"mine.yaml": "\ntranslation: {beam_size: 4}\n", "config/languages.tsv": "\nxx\tXish\tBe kind.\n"}[name]
    cluster.build(shard)
    (cluster.root / "edit").write_text(edit)
    write_program(cluster.root / "bin/qsub", QSUB.replace("for script", f"cat edit >> {name}\nfor script", 1))
    (cluster.root / "jobs.out").write_text("")
    run = cluster.run("--forcerun", "translate", "--retries=0", "--", shard)
    assert run.code != 0, run
    said = (cluster.root / "jobs.out").read_text(errors="replace")
    assert "error: the configuration or a table of config/ has changed since Snakemake submitted this job" in said
    edited.write_text(before)
    write_program(cluster.root / "bin/qsub", QSUB)
    assert cluster.build(shard).jobs == {"translate": 1}


@pytest.mark.parametrize(
    ("scheduler", "gpu", "expected"),
    [
        ("PBS", 1, "-l walltime=7200 -l select=1:ncpus=4:mem=6000mb:ngpus=1"),
        ("LSF", 0, "-J translate -n 4 -W 120 -R span[hosts=1] rusage[mem=6000MB]"),
        ("LSF", 1, "rusage[mem=6000MB] -gpu num=1"),
    ],
)
def test_the_other_schedulers_lines_are_commands(tmp_path, scheduler, gpu, expected):
    lines = PROFILE.read_text().split(f"# {scheduler}", 1)[1].splitlines()[1:]
    own = [line.removeprefix("# ") for line in lines[: lines.index("")]]
    command = yaml.safe_load("\n".join(own))["cluster-generic-submit-cmd"]
    for name in ("qsub", "bsub"):
        write_program(tmp_path / "bin" / name, '#!/bin/sh\necho "$*"\n')
    resources = SimpleNamespace(mem_mb=6000, runtime=120, gpu=gpu)
    done = subprocess.run(
        f'{command.format(rule="translate", threads=4, resources=resources)} "job.sh"',
        shell=True, capture_output=True, text=True, check=True,
        env=os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
    )  # fmt: skip
    assert expected in done.stdout and done.stdout.endswith(" job.sh\n")


def test_the_profile_without_conda_is_the_slurm_profile_but_for_that():
    slurm, venv = (yaml.safe_load(Path(f"profiles/{name}/config.yaml").read_text()) for name in ("slurm", "slurm-venv"))
    assert slurm.pop("software-deployment-method") == "conda"
    assert slurm == venv
