"""Fixtures: the project on a real Slurm cluster of two nodes with two GPUs each, on this machine."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import slurm
import standin_conda
import yaml
from running import Project, Run, copy_project, sample
from waiting import LIMIT, until


class Living:
    """A running Snakemake on the login node."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]):
        self.file = folder / "run.out"
        with self.file.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.file.read_text()

    def running(self, rule: str, at_least: int = 1) -> list[slurm.Job]:
        """Wait for at least this many running jobs of a rule, and return them."""

        def found():
            assert self.process.poll() is None, self.output[-4000:]
            jobs = [job for job in slurm.queue() if job.rule == rule and job.state == "RUNNING"]
            return jobs if len(jobs) >= at_least else None

        return until(found)

    def wait(self) -> Run:
        return Run(self.process.wait(LIMIT), self.output)

    def succeed(self) -> Run:
        run = self.wait()
        assert run.code == 0, run
        return run


@dataclass(frozen=True)
class Submitted:
    """A Snakemake that is a Slurm job, and the file of its output."""

    id: str
    file: Path


@dataclass
class Site(Project):
    """The project on the login node, with a stand-in for `conda`."""

    programs: Path

    def command(self, *arguments: str) -> list[str]:
        snakemake = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--configfile=mine.yaml"]
        # Query Slurm every few seconds: the jobs here are short.
        return [*snakemake, "--slurm-init-seconds-before-status-checks=3", *arguments]

    def environment(self) -> dict[str, str]:
        # One thread each: trainings that run in parallel here must not slow each other down.
        return os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str) -> Living:
        self.living = Living(self.command(*arguments), self.root, self.environment())
        return self.living

    def submit(self, *arguments: str) -> Submitted:
        """Submit Snakemake itself as a job."""
        file = self.root / "submitted.out"
        file.unlink(missing_ok=True)
        command = shlex.join(self.command(*arguments))
        options = ["--parsable", "--time=30", "--mem=2000", f"--output={file}", "--wrap", command]
        done = subprocess.run(
            ["sbatch", *options], cwd=self.root, env=self.environment(), capture_output=True, text=True, check=True
        )
        return Submitted(done.stdout.strip(), file)

    def end(self):
        if self.living and self.living.process.poll() is None:
            self.living.process.kill()
        subprocess.run(["scancel", "--user=root"], check=False, timeout=30)
        until(lambda: not slurm.queue(), 60)
        subprocess.run(self.command("--unlock"), cwd=self.root, env=self.environment(), capture_output=True, timeout=60)

    living = None


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if reason := slurm.missing():
        pytest.skip(reason)
    cluster = slurm.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def whole_site(cluster, tmp_path_factory, tiny_base):
    """Return the project with the sample, a small OPUS-MT model and four English shards."""
    from tiny_translation import save_marian

    root = tmp_path_factory.mktemp("site")
    copy_project(root)
    (root / "slurm").symlink_to("profiles/slurm")
    (root / "opus-mt").mkdir()
    save_marian(root / "opus-mt")
    site = Site(root, standin_conda.install(root / "conda", shared=True))
    site.write_messages([row for row in sample() if row["lang"] in ("en", "pt-BR")])
    (root / "mine.yaml").write_text(
        yaml.safe_dump(
            {
                "source": {"dataset": "messages.jsonl", "languages": ["en", "pt"], "shards": {"en": 4}},
                "translation": {"models": {"en-pt": str(root / "opus-mt")}},
                "threads": {"prompt_format": "chatml"},
                "tuning": {"base_model": str(tiny_base), "quantization": "none", "max_steps": 12, "max_length": 256},
            }
        )
    )
    return site


@pytest.fixture
def site(whole_site):
    yield whole_site
    whole_site.end()
