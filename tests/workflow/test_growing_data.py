"""Tests of the memory of the steps that no model runs in: it does not grow with the messages."""

import json
import sys
from pathlib import Path

import pytest
from paths import ROOT

sys.path.insert(0, str(ROOT / "tests/benchmarks"))
import growth

SAMPLE = Path("config/demo/messages.jsonl")


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """The peak memory of each step with messages in one and in three partitions, and more."""
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    return [
        {step: peak for step, (_, peak) in growth.measure(rows, count, tmp_path_factory.mktemp("run")).items()}
        for count in (50_000, 125_000)
    ]


def test_more_messages_take_hardly_more_memory(peaks):
    few, many = peaks
    assert list(few) == ["fetch", "split", "translate", "combine", "threads", "preferences"]
    assert {step: f"{many[step] / few[step]:.2f}" for step in few if many[step] > 1.3 * few[step]} == {}
