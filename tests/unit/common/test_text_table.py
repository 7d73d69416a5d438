"""Tests of the text tables: aligned columns, and a remark as the last cell of a shorter row."""

from mothertongue.common.text_table import aligned


def test_columns_are_aligned_and_a_last_cell_does_not_widen_its_column():
    rows = [["name", "n", "what"], ["a", "1,000", "x"], ["longer", "cannot be measured here"], ["b", "2", ""]]
    assert aligned(rows, left={0, 2}) == [
        "name        n  what",
        "a       1,000  x",
        "longer  cannot be measured here",
        "b           2",
    ]
