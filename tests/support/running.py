"""Copies of the project to run the real Snakemake in, and running its programs."""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from loaded_programs import PROGRAMS, LoadedPrograms
from paths import ROOT
from preloaded import Preloaded

PARTS = ("Snakefile", "VERSION", "rules", "scripts", "config", "envs", "profiles", "report")
ADAPTER = "results/demo/pt/adapter"
METRICS = "results/demo/pt/evaluation/metrics.json"
CHAIN = (ADAPTER, METRICS)


@dataclass
class Run:
    """A finished run of Snakemake: its exit code, its output, and the number of jobs by rule."""

    code: int
    output: str

    @property
    def jobs(self) -> dict[str, int]:
        return dict(Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", self.output)))

    def __str__(self) -> str:
        return self.output[-4000:]


@dataclass
class Project:
    """A copy of the project in a separate folder."""

    root: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--profile", "profiles/demo", "--configfile=mine.yaml", *arguments]

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def run(self, *arguments: str) -> Run:
        python, module, name, *options = self.command(*arguments)
        assert (python, module, name) == (sys.executable, "-m", "snakemake")
        with tempfile.TemporaryDirectory() as folder:
            done = loaded_snakemake().run(
                name, *options, stdin=os.devnull, output=Path(folder) / "output", seconds=600, folder=self.root,
                environment=self.environment() | loaded_programs().environment,
            )  # fmt: skip
        return Run(*done)

    def build(self, *arguments: str) -> Run:
        run = self.run(*(arguments or CHAIN))
        assert run.code == 0, run
        return run

    def kill_during(self, pattern: str, *targets: str, delay: float, killed: str = "program") -> None:
        """Start a run, and kill it with SIGKILL `delay` seconds after a process with a matching command line starts.

        `killed` is `program` (the matching process), `snakemake` or `run` (all of it).
        """
        process = subprocess.Popen(
            self.command(*targets),
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not (found := processes(pattern, self.root)):
            assert process.poll() is None and time.monotonic() < deadline, f"{pattern} never ran"
            time.sleep(0.05)
        time.sleep(delay)
        if killed == "snakemake":
            process.kill()
        if killed == "run":
            os.killpg(process.pid, signal.SIGKILL)
        for pid in [] if killed == "snakemake" else processes(pattern, self.root) or found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pytest.fail(f"{pattern} had ended before it could be killed")
        process.wait(timeout=120)

    def configure(self, **sections: dict) -> None:
        path = self.root / "mine.yaml"
        config = yaml.safe_load(path.read_text())
        for name, values in sections.items():
            config.setdefault(name, {}).update(values)
        path.write_text(yaml.safe_dump(config))

    def drop(self, section: str, name: str | None = None) -> None:
        """Remove a section of the configuration, or one of its keys."""
        path = self.root / "mine.yaml"
        config = yaml.safe_load(path.read_text())
        del (config if name is None else config[section])[name or section]
        path.write_text(yaml.safe_dump(config))

    def configured(self, section: str) -> dict:
        return yaml.safe_load((self.root / "mine.yaml").read_text())[section]

    def read_messages(self) -> list[dict]:
        return [json.loads(line) for line in (self.root / "messages.jsonl").read_text().split("\n")[:-1]]

    def write_messages(self, rows: list[dict]) -> None:
        (self.root / "messages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def bytes(self, pattern: str) -> dict[str, bytes]:
        return {str(p.relative_to(self.root)): p.read_bytes() for p in sorted(self.root.glob(pattern)) if p.is_file()}

    def accounting(self) -> dict:
        return json.loads((self.root / "results/demo/pt/dataset/accounting.json").read_text())

    def losses(self) -> list[float]:
        return json.loads((self.root / ADAPTER / "training.json").read_text())["training"]["losses"]


@cache
def loaded_snakemake() -> Preloaded:
    """Return the process that runs the real Snakemake in forks: most of the time of a small run is for imports."""
    loaded = Preloaded(["snakemake.cli"])
    atexit.register(loaded.close)
    return loaded


@cache
def loaded_programs() -> LoadedPrograms:
    """Return the process that runs the programs of the rules in forks."""
    folder = tempfile.TemporaryDirectory()
    loaded = LoadedPrograms(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(loaded.close)
    return loaded


def processes(pattern: str, folder: Path) -> list[int]:
    """Return the ids of Python processes that run in a folder and have a matching argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                here = (entry / "cwd").resolve() == folder.resolve()
            except OSError:
                continue
            if here and "python" in Path(arguments[0]).name and any(re.search(pattern, a) for a in arguments[1:3]):
                found.append(int(entry.name))
    return found


def program(name: str, *arguments: str | Path) -> str:
    """Run a program of scripts/ in the project's root, assert that it succeeds, and return its stderr."""
    python, environment = sys.executable, os.environ
    if name in PROGRAMS:
        python, environment = loaded_programs().python, os.environ | loaded_programs().environment
    command = [python, f"scripts/{name}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def copy_project(root: Path) -> None:
    """Copy the project's own files to another folder."""
    for part in PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, root / part, **({"ignore": shutil.ignore_patterns("__pycache__")} if source.is_dir() else {}))


def sample() -> list[dict]:
    """Return the messages of the bundled sample."""
    text = (ROOT / "config/demo/messages.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]
