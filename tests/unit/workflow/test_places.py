"""Tests of where a run's files are: the workflow's own in its folder, users' in the working directory first."""

from pathlib import Path

import pytest

from mothertongue.common.errors import UserError
from mothertongue.workflow import settings
from mothertongue.workflow.configuration import lay_over
from mothertongue.workflow.places import Places, home_of
from mothertongue.workflow.rule_helpers import check_folder_of


@pytest.mark.parametrize(
    ("folder", "place", "home"),
    [
        ("/home/me/mothertongue", "/home/me/mothertongue", ""),
        ("/home/me/project/tools/mothertongue", "/home/me/project", "tools/mothertongue/"),
        ("/opt/mothertongue", "/home/me/run", "/opt/mothertongue/"),
        ("/home/me", "/home/me/run", "/home/me/"),
    ],
)
def test_the_workflows_folder_is_seen_from_the_working_directory(folder, place, home):
    assert home_of(Path(folder), Path(place)) == home


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Return the places of a run beside a workflow that has two templates and a table."""
    for file in ("config/templates/a.jinja", "config/templates/b.jinja", "config/gpus.tsv", "config/demo/m.jsonl"):
        (tmp_path / "workflow" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "workflow" / file).touch()
    (tmp_path / "run/config/templates").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    return Places(f"{tmp_path}/workflow/", local=lambda path: f"local {path}")


def test_users_files_come_first_and_all_are_local(places, tmp_path):
    assert places.table("gpus.tsv") == Path(f"local {tmp_path}/workflow/config/gpus.tsv")
    Path("config/gpus.tsv").touch()
    assert places.table("gpus.tsv") == Path("local config/gpus.tsv")
    assert places.found("none.txt") == "local none.txt", "an error names the user's path"
    assert places.own("config/gpus.tsv") == f"local {tmp_path}/workflow/config/gpus.tsv"


def test_a_folder_has_the_workflows_files_or_the_users_of_their_names(places, tmp_path):
    for name in ("b.jinja", "c.jinja", "notes.txt"):
        Path("config/templates", name).touch()
    assert places.folder("config/templates", "*.jinja") == [
        f"local {tmp_path}/workflow/config/templates/a.jinja",
        "local config/templates/b.jinja",
    ]


def test_a_configurations_paths_lead_to_the_workflow_where_only_that_has_the_file(tmp_path, places):
    plain = Places(places.home)
    values = {
        "results": "./out/x",
        "source": {"dataset": "config/demo/m.jsonl"},
        "threads": {"prompt_format": "config/templates/a.jinja"},
        "variants": {"v": {"fsdp": "config/gpus.tsv"}},
        "evaluation": {"harness": ["config/none.yaml", "xnli_es"]},
    }
    found = plain.resolved(lay_over(settings.defaults(), values))
    assert found["results"] == "out/x"
    assert found["source"]["dataset"] == f"{tmp_path}/workflow/config/demo/m.jsonl"
    assert found["threads"]["prompt_format"] == f"{tmp_path}/workflow/config/templates/a.jinja"
    assert found["variants"]["v"]["fsdp"] == f"{tmp_path}/workflow/config/gpus.tsv"
    assert found["evaluation"]["harness"] == ["config/none.yaml", "xnli_es"] and found["tuning"]["fsdp"] is None
    assert plain.resolved(lay_over(settings.defaults(), {}))["source"]["dataset"] == "OpenAssistant/oasst1"


@pytest.mark.parametrize("target", ["nl/adapter", "results/nl/adapter", "out/demo/nl/adapter", "/out/nl/adapter"])
def test_a_target_of_another_folder_is_refused(target):
    with pytest.raises(UserError, match=f"target {target}: everything is built in .* which is out"):
        check_folder_of([target], "out", ["nl", "de"])


def test_targets_of_the_folder_are_not_refused():
    check_folder_of(["out/nl/adapter/", "./out/de/report.html", "out/nl/variants/de/adapter"], "out", ["nl", "de"])
