"""A copy of the project to run the real Snakemake in, with a tiny base model and a slice of the sample."""

import pytest
import yaml
from running import Project, copy_project, sample
from tuning_runs import make_material


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_base):
    """The project with twenty trees of the sample, three English shards, and a base model of 100,000 parameters."""
    root = tmp_path_factory.mktemp("project")
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
                "tuning": {"base_model": str(tiny_base), "max_steps": 3, "max_length": 256, "lora": {"rank": 4}},
                "evaluation": {"prompts": 2, "max_new_tokens": 8},
            }
        )
    )
    return project


@pytest.fixture(scope="session")
def material(tmp_path_factory, tiny_base):
    """What scripts/tune.py reads, by hand: see tuning_runs."""
    return make_material(tmp_path_factory.mktemp("tune"), tiny_base)
