"""Fixtures: copies of the project to run the real Snakemake in, with a tiny base model and a part of the sample."""

import shutil
from dataclasses import dataclass

import pytest
import yaml
from made_once import made_once, run_folder
from running import Project, Run, copy_project, sample
from tuning_runs import make_material


@dataclass
class Built(Project):
    """A project in which the whole chain is built, and the run that built it."""

    first: Run


def make_project(root, base):
    """Write the project with twenty trees of the sample, three English shards, and a base model."""
    copy_project(root)
    project = Project(root)
    rows = sample()
    trees = list(dict.fromkeys(row["message_tree_id"] for row in rows))
    wanted = set(trees[::5]) | {row["message_tree_id"] for row in rows if row["lang"] in ("es", "de")}
    project.write_messages([row for row in rows if row["message_tree_id"] in wanted])
    (root / "mine.yaml").write_text(
        yaml.safe_dump(
            {
                "source": {"dataset": "messages.jsonl", "validation": 0.2, "shards": {"en": 3}},
                "tuning": {"base_model": str(base), "max_steps": 3, "max_length": 256, "lora": {"rank": 4}},
                "evaluation": {"prompts": 2, "max_new_tokens": 8},
            }
        )
    )
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_base):
    """Return a project in which nothing is built yet, with a base model of 100,000 parameters."""
    return make_project(tmp_path_factory.mktemp("project"), tiny_base)


@pytest.fixture(scope="session")
def chain(tmp_path_factory, tiny_base):
    """Return a folder with a fully built project and the output of that build, made once per test run."""

    def build(folder):
        (folder / "project").mkdir()
        run = make_project(folder / "project", tiny_base).build()
        (folder / "first.out").write_text(run.output, encoding="utf-8")

    return made_once(run_folder(tmp_path_factory) / "chain", build)


@pytest.fixture(scope="module")
def built(tmp_path_factory, chain):
    """Return a copy of the fully built project, which the tests may change."""
    root = tmp_path_factory.mktemp("built") / "project"
    shutil.copytree(chain / "project", root, symlinks=True)
    return Built(root, Run(0, (chain / "first.out").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def material(tmp_path_factory, tiny_base):
    """Return a folder with the inputs of scripts/tune.py (see tuning_runs)."""
    return make_material(tmp_path_factory.mktemp("tune"), tiny_base)
