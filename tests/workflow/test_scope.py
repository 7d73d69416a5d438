"""Tests of `source.scope: threads` with the real Snakemake: fewer messages are translated, the threads are the same.

The tests build on one another.
"""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

THREADS = "results/demo/pt/threads/train.jsonl"


@pytest.fixture(scope="module")
def project(built):
    """Return the fully built project, with scope all."""
    return built


@pytest.fixture(scope="module")
def whole(project):
    """Return the threads and the dataset's account with scope all."""
    return threads(project), project.accounting()


@pytest.fixture(scope="module")
def scoped(project, whole):
    """Return the project, rebuilt with scope threads."""
    project.configure(source={"scope": "threads"})
    project.build(THREADS)
    return project


def threads(project):
    return (project.root / THREADS).read_bytes()


def test_another_selection_reruns_split_only_with_scope_threads(project, whole):
    def rules_run(**sections):
        project.configure(**sections)
        output = project.build("-n", "--", THREADS).output
        return {rule for rule in ("split", "translate", "combine", "threads") if f"\n{rule} " in output}

    assert rules_run(threads={"select": "all"}) == {"threads"}
    assert "split" in rules_run(source={"scope": "threads"})
    project.configure(source={"scope": "all"}, threads={"select": "best"})


def test_the_threads_are_the_same_with_either_scope(whole, scoped):
    assert threads(scoped) == whole[0]
    assert len(whole[0].splitlines()) > 5


def test_preferences_are_refused_even_if_all_their_inputs_exist(scoped):
    run = scoped.run("--", THREADS.replace("threads", "preferences"))
    assert run.code != 0 and run.jobs == {}
    assert "error: preferences compare replies that source.scope: threads does not translate" in run.output


def test_fewer_messages_are_translated_and_all_are_accounted_for(whole, scoped):
    before, after = whole[1]["total"], scoped.accounting()["total"]
    assert after["messages"] == before["messages"] == len(scoped.read_messages())
    assert after["status"]["translated"] < before["status"]["translated"]
    assert after["excluded_because"]["language"] == before["excluded"] == before["excluded_because"]["language"]
    assert after["excluded_because"]["scope"] > 0 == before["excluded_because"]["scope"]
    for total in (before, after):
        assert total["excluded"] == sum(total["excluded_because"].values())
        assert total["messages"] == sum(total["status"].values()) + total["excluded"]
        assert total["out"] == sum(total["status"].values())


def test_the_dataset_contains_the_messages_of_the_threads_and_failed_ones(scoped):
    rows = pq.read_table(scoped.root / "results/demo/pt/dataset/train.parquet").to_pylist()
    used = Counter(
        message["message_id"]
        for line in threads(scoped).splitlines()
        for message in json.loads(line)["messages"]
        if message["message_id"]
    )
    assert {row["message_id"] for row in rows if row["status"] != "failed"} == set(used)


def test_the_quality_report_covers_the_translated_messages(scoped):
    quality = json.loads((scoped.root / "results/demo/pt/dataset/quality.json").read_text())
    total = scoped.accounting()["total"]
    assert quality["total"]["status"] == total["status"]
    assert "that no training thread uses" in (scoped.root / "results/demo/pt/dataset/README.md").read_text()
