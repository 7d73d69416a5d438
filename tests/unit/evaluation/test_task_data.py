"""Tests of the data of the harness's tasks, with the hub's real client on a local hub; no task is made here."""

import json
import os
import subprocess
import sys

import pytest
from hub import Hub

pytestmark = pytest.mark.costly

CARD = "---\nlicense: cc-by-4.0\nconfigs:\n- config_name: nl\n  data_files:\n  - split: test\n    path: nl.jsonl\n---\n"
FETCH = """
import sys
from pathlib import Path
import datasets
from mothertongue.common.errors import run
from mothertongue.evaluation import task_data
from mothertongue.evaluation.task_data import Fetch, Fetched

folder = Path(sys.argv[1])
source = Fetch(folder, folder.parent / "lock.json") if sys.argv[2] == "fetch" else Fetched(folder)

def main():
    with task_data.reading(source):
        found = datasets.load_dataset(path=sys.argv[3], name=sys.argv[4] or None, **eval(sys.argv[5]))
    print(found["test"]["text"][:])
    if sys.argv[2] == "fetch":
        source.write_record([], "0")

run(main, hub=sys.argv[2] == "fetch")
"""


@pytest.fixture
def read(tmp_path):
    """Yield a hub with a dataset of two commits, and a function that reads from it, or from what was fetched."""
    with Hub() as hub:
        repo = hub.add("dataset", "me/data", {"README.md": CARD.encode(), "nl.jsonl": b'{"text": "oud"}\n'})
        old = repo.head.sha
        repo.put({"nl.jsonl": b'{"text": "nieuw"}\n'})

        def run(how, name="me/data", part="nl", **options):
            environment = os.environ | {"PYTHONPATH": "scripts"}
            environment |= (
                hub.environment(tmp_path / "home") | {"HF_HUB_OFFLINE": "0"}
                if how == "fetch"
                else {"HF_HUB_OFFLINE": "1"}
            )
            command = [sys.executable, "-c", FETCH, tmp_path / "data", how, name, part, repr(options)]
            return subprocess.run(command, env=environment, capture_output=True, text=True)

        yield run, old, hub, tmp_path


def test_the_newest_commit_is_pinned_and_read_again_without_the_hub(read):
    run, _, hub, folder = read
    assert run("fetch").stdout == "['nieuw']\n"
    hub.repos["dataset", "me/data"].put({"nl.jsonl": b'{"text": "later"}\n'})
    assert run("offline").stdout == "['nieuw']\n"
    found = json.loads((folder / "data/fetched.json").read_text())["datasets"]["me/data"]
    assert found["licence"] == "cc-by-4.0" and found["parts"] == ["nl"]
    (folder / "data/me--data--nl").rename(folder / "away")
    assert run("fetch").stdout == "['nieuw']\n"  # of the lock


def test_a_tasks_own_revision_is_fetched_and_recorded(read):
    run, old, _, folder = read
    assert run("fetch", revision=old).stdout == "['oud']\n"
    assert run("offline", revision=old).stdout == "['oud']\n"
    assert json.loads((folder / "data/fetched.json").read_text())["datasets"][f"me/data@{old}"]["revision"] == old
    missing = run("offline")
    assert missing.returncode == 1 and missing.stderr.count("\n") == 1 and "'me/data', nl, of a task" in missing.stderr


def test_files_of_the_user_are_read_where_they_lie_and_those_at_addresses_are_fetched(read):
    run, _, hub, folder = read
    (folder / "own.jsonl").write_text('{"text": "eigen"}\n')
    own = {"data_files": {"test": str(folder / "own.jsonl")}, "trust_remote_code": True}
    assert run("offline", "json", "", **own).stdout == "['eigen']\n"
    remote = {"data_files": {"test": f"{hub.url}/datasets/me/data/resolve/main/nl.jsonl"}}
    assert run("offline", "json", "", **remote).returncode == 1
    assert run("fetch", "json", "", **remote).stdout == "['nieuw']\n"
    assert run("offline", "json", "", **remote).stdout == "['nieuw']\n"


def test_a_dataset_that_would_run_code_is_refused_by_name(read):
    run, _, hub, _ = read
    hub.add("dataset", "me/coded", {"README.md": b"x", "coded.py": b"raise SystemExit(3)\n"})
    refused = run("fetch", "me/coded", "nl")
    assert refused.returncode == 1 and "'me/coded'" in refused.stderr and "Traceback" not in refused.stderr
