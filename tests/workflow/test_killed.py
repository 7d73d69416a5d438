"""Tests of killed runs: they leave no partial output, and the next run gives the same bytes as an undisturbed one."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import ADAPTER, CHAIN, processes

TRANSLATED = "results/demo/pt/translated/**/*.parquet"
# Number of kills and random seed of the storm. For a longer one: STRIKES=50 SEED=2 pytest -k storm.
STRIKES, SEED = (int(os.environ.get(name, default)) for name, default in (("STRIKES", "5"), ("SEED", "1")))
# Patterns of machine-dependent measurements in outputs, by file name.
MEASURED = {
    "training.json": r'"(seconds|tokens_per_second|peak_memory_mb)": [\d.]+',
    "README.md": r"\| (speed|memory) \| [\d,.]+",
}


@pytest.fixture(scope="module")
def project(built):
    """Return the project as an undisturbed run of the whole chain left it."""
    return built


@pytest.fixture(scope="module")
def undisturbed(project):
    """Return the outputs of an undisturbed run, which are then removed from the project."""
    project.configure(tuning={"max_steps": 60})
    project.build()
    outputs = project.bytes(TRANSLATED), project.bytes("results/demo/pt/dataset/*"), project.losses(), made(project)
    assert project.run("--delete-all-output", ADAPTER).code == 0
    return outputs


def test_a_run_killed_during_translate_can_be_continued(project, undisturbed):
    project.build("results/demo/source/counts.json", "results/demo/models/translation/" + model(project))
    project.kill_during(r"scripts/translate\.py", "results/demo/pt/translated/en/0.parquet", delay=0.7)
    assert not (project.root / "results/demo/pt/translated/en/0.parquet").exists()
    assert gone(r"spawn_main|scripts/translate", project), "workers outlived their killed parent"
    project.build(ADAPTER)
    assert project.bytes(TRANSLATED) == undisturbed[0]
    assert project.bytes("results/demo/pt/dataset/*") == undisturbed[1]


def test_a_run_killed_as_a_whole_during_tune_can_be_continued(project, undisturbed):
    project.configure(tuning={"seed": 43})
    project.build(ADAPTER)
    project.configure(tuning={"seed": 42})
    project.kill_during(r"scripts/tune\.py", ADAPTER, killed="run", delay=5)
    assert not (project.root / ADAPTER / "adapter_config.json").exists()
    assert project.run("--unlock", ADAPTER).code == 0
    project.build(ADAPTER)
    assert project.losses() == undisturbed[2]
    assert (project.root / ADAPTER / "adapter_model.safetensors").is_file()


def test_programs_end_when_their_snakemake_is_killed(project, undisturbed):
    # If they went on, Snakemake would take their outputs for up to date, even after a change of the configuration.
    project.configure(tuning={"seed": 43})
    project.kill_during(r"scripts/tune\.py", ADAPTER, killed="snakemake", delay=2)
    assert gone(r"scripts/tune\.py", project), "tune outlived its killed Snakemake"
    assert not (project.root / ADAPTER / "adapter_config.json").exists()
    project.configure(tuning={"seed": 42})
    assert project.run("--unlock", ADAPTER).code == 0
    project.build(ADAPTER)
    assert project.losses() == undisturbed[2]


def test_the_same_build_twice_gives_the_same_weights(project, undisturbed):
    first = project.bytes(f"{ADAPTER}/adapter_*")
    project.build("--forcerun", "tune", "--", ADAPTER)
    assert project.bytes(f"{ADAPTER}/adapter_*") == first
    training = json.loads((project.root / ADAPTER / "training.json").read_text())
    assert training["data"]["sha256"] and training["training"]["tokens_per_second"] > 0


def test_after_a_storm_of_kills_the_outputs_are_the_same(project, undisturbed):
    """Kill programs, Snakemake and whole runs at random times; each next run continues."""
    shutil.rmtree(project.root / "results/demo")
    chance = random.Random(SEED)
    struck = []
    while len(struck) < STRIKES and (scripts := strike(project, chance)):
        struck.append(scripts)
        assert gone(r"scripts/|spawn_main", project), f"a program outlived its killed Snakemake: {struck}"
        assert project.run("--unlock", *CHAIN).code == 0
    project.build()
    before, after = undisturbed[3], made(project)
    assert [name for name in sorted(before | after) if before.get(name) != after.get(name)] == [], struck


def strike(project, chance):
    """Run the chain and kill a part of it at a random time; return the part and the scripts that were running.

    Return an empty list if the chain ended before that.
    """
    count, what, delay = chance.randint(2, 5), chance.choice(("program", "snakemake", "run")), chance.uniform(0, 4)
    seen = set()
    with subprocess.Popen(
        project.command(*CHAIN),
        cwd=project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        while run.poll() is None and len(seen) < count:
            seen.update(processes(r"scripts/\w+\.py", project.root))
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            run.wait(delay)
        running = processes(r"scripts/\w+\.py", project.root)
        if run.poll() is not None:
            return []
        names = [what, *(program_of(pid) for pid in running)]
        for pid in running if what == "program" else [run.pid] if what == "snakemake" else [-run.pid]:
            with suppress(ProcessLookupError):
                os.killpg(-pid, signal.SIGKILL) if pid < 0 else os.kill(pid, signal.SIGKILL)
    return names


def program_of(pid):
    """Return the name of the script that a process runs; None if it has ended."""
    with suppress(OSError):
        return re.search(r"scripts/(\w+)", Path(f"/proc/{pid}/cmdline").read_text())[1]
    return None


def made(project):
    """Return all that the chain wrote by name: bytes without machine-dependent measurements, entries of memories."""
    found = {}
    for name, content in project.bytes("results/demo/**/*").items():
        if not name.startswith(("results/demo/logs/", "results/demo/benchmarks/")):
            pattern = MEASURED.get(name.rpartition("/")[2])
            found[name] = re.sub(pattern.encode(), b"", content) if pattern else content
        # A killed job's entries come before those of the next: the order of a memory tells what was killed.
        if name.startswith("results/demo/memory/"):
            found[name] = sorted(pq.read_table(project.root / name).to_pylist(), key=lambda entry: entry["key"])
    return found


def model(project):
    return next(path.name for path in (project.root / "results/demo/logs/models/translation").iterdir()).removesuffix(
        ".log"
    )


def gone(pattern, project):
    deadline = time.monotonic() + 90
    while processes(pattern, project.root) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not processes(pattern, project.root)
