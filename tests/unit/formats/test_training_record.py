"""Tests of what a training record says in words."""

import pytest

from mothertongue.formats import training_record


def record(tokens, total=None, steps=20, each=1, method="sft"):
    data = {"threads": 69} | ({"tokens": total} if total else {})
    training = {"tokens": tokens, "steps": steps, "sequences_a_step": each}
    return {"training": training, "data": data, "settings": {"method": method}}


@pytest.mark.parametrize(
    ("tokens", "total", "expected"),
    [
        (7_781, 35_297, "7,781 of the 35,297 tokens of"),
        (35_297, 35_297, "1.0 epochs of"),
        (70_594, 35_297, "2.0 epochs of"),
        (7_781, None, ""),
    ],
)
def test_the_share_of_the_data_that_was_read(tokens, total, expected):
    assert training_record.read_of(record(tokens, total)) == expected


def test_preferences_are_read_as_pairs_and_one_is_singular():
    assert training_record.steps_of(record(1, steps=1, each=2)) == "1 step of 2 sequences"
    assert training_record.steps_of(record(1, steps=6, each=1, method="dpo")) == "6 steps of 1 preference pair"
