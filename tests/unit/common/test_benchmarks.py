"""Tests of reading benchmark files: measured values, missing values, and the partial file of a killed job."""

import pytest

from mothertongue.common.benchmarks import number, read_rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"s": 65.1}\n', [65.1]), ('{"s": 1}\n\n{"s": 2}\n', [1.0, 2.0]), ('{"s": "-"}\n{"s": NaN}\n{"x": 1}\n', [None] * 3),
     ('{"s": 1}\n{"s": ', []), ("[1]\n", []), ("", [])],
)  # fmt: skip
def test_only_measured_values_are_read(tmp_path, text, expected):
    (tmp_path / "job.jsonl").write_text(text)
    assert [number(row, "s") for row in read_rows(tmp_path / "job.jsonl")] == expected


def test_a_missing_benchmark_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "job.jsonl") == []
