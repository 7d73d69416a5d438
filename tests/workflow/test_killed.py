"""A killed run leaves no partial output, and the next one ends with the bytes of an undisturbed one."""

import json
import time

import pytest
from running import ADAPTER, processes

TRANSLATED = "results/demo/pt/translated/**/*.parquet"


@pytest.fixture(scope="module")
def undisturbed(project):
    """The outputs of a run from start to end, which are then removed."""
    project.configure(tuning={"max_steps": 60})
    project.build()
    outputs = project.bytes(TRANSLATED), project.bytes("results/demo/pt/dataset/*"), project.losses()
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


def model(project):
    return next(path.name for path in (project.root / "results/demo/logs/models/translation").iterdir()).removesuffix(
        ".log"
    )


def gone(pattern, project):
    deadline = time.monotonic() + 30
    while processes(pattern, project.root) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not processes(pattern, project.root)
