"""A killed run leaves no partial output, and the next one ends with the bytes of an undisturbed one."""

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

import pytest
from running import ADAPTER, CHAIN, processes

TRANSLATED = "results/demo/pt/translated/**/*.parquet"
# Of the storm: how often it strikes, and by what chance. More of it: STRIKES=50 SEED=2 pytest -k storm.
STRIKES, SEED = (int(os.environ.get(name, default)) for name, default in (("STRIKES", "5"), ("SEED", "1")))
# What outputs measure of the machine, by the file that has it.
MEASURED = {
    "training.json": r'"(seconds|tokens_per_second|peak_memory_mb)": [\d.]+',
    "README.md": r"\| (speed|memory) \| [\d,.]+",
}


@pytest.fixture(scope="module")
def project(built):
    """The project with its chain built, as an undisturbed run left it."""
    return built


@pytest.fixture(scope="module")
def undisturbed(project):
    """The outputs of a run from start to end, which are then removed."""
    project.configure(tuning={"max_steps": 60})
    project.build()
    outputs = project.bytes(TRANSLATED), project.bytes("results/demo/pt/dataset/*"), project.losses(), made(project)
    assert project.run("--delete-all-output", ADAPTER).code == 0
    return outputs


def test_killed_in_the_middle_of_translate(project, undisturbed):
    project.build("results/demo/source/counts.json", "results/demo/models/translation/" + model(project))
    project.kill_during(r"scripts/translate\.py", "results/demo/pt/translated/en/0.parquet", delay=0.7)
    assert not (project.root / "results/demo/pt/translated/en/0.parquet").exists()
    assert gone(r"spawn_main|scripts/translate", project), "workers outlived their killed parent"
    project.build(ADAPTER)
    assert project.bytes(TRANSLATED) == undisturbed[0]
    assert project.bytes("results/demo/pt/dataset/*") == undisturbed[1]


def test_the_whole_run_killed_in_the_middle_of_tune(project, undisturbed):
    project.configure(tuning={"seed": 43})
    project.build(ADAPTER)
    project.configure(tuning={"seed": 42})
    project.kill_during(r"scripts/tune\.py", ADAPTER, killed="run", delay=5)
    assert not (project.root / ADAPTER / "adapter_config.json").exists()
    assert project.run("--unlock", ADAPTER).code == 0
    project.build(ADAPTER)
    assert project.losses() == undisturbed[2]
    assert (project.root / ADAPTER / "adapter_model.safetensors").is_file()


def test_programs_end_with_their_killed_snakemake(project, undisturbed):
    # What they wrote by themselves would be taken for up to date, whatever was configured since.
    project.configure(tuning={"seed": 43})
    project.kill_during(r"scripts/tune\.py", ADAPTER, killed="snakemake", delay=5)
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


def test_a_storm_of_kills_still_ends_in_the_same_bytes(project, undisturbed):
    """Programs, Snakemake and whole runs are killed, whatever they are at; each next run goes on."""
    shutil.rmtree(project.root / "results/demo")
    chance = random.Random(SEED)
    struck = []
    while len(struck) < STRIKES and (scripts := strike(project, chance)):
        struck.append(scripts)
        assert gone(r"scripts/|spawn_main", project), f"a program outlived its killed Snakemake: {struck}"
        assert project.run("--unlock", *CHAIN).code == 0
    project.build()
    assert made(project) == undisturbed[3], struck


def strike(project, chance):
    """Run the chain, and kill some of it when so many programs have begun; what was killed, and the scripts that ran then.

    Empty where the chain came to its end before.
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
    """The name of the script that a process runs; None where it has ended."""
    with suppress(OSError):
        return re.search(r"scripts/(\w+)", Path(f"/proc/{pid}/cmdline").read_text())[1]
    return None


def made(project):
    """The bytes of all outputs of the chain, without what they measure of the machine."""
    found = {}
    for name, content in project.bytes("results/demo/**/*").items():
        if not name.startswith(("results/demo/logs/", "results/demo/benchmarks/")):
            pattern = MEASURED.get(name.rpartition("/")[2])
            found[name] = re.sub(pattern.encode(), b"", content) if pattern else content
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
