"""Tables on a terminal: columns below each other, and a remark in a row that has no more."""

from mothertongue.common.text_table import aligned


def test_columns_stand_below_each_other_and_a_last_cell_widens_none():
    rows = [["name", "n", "what"], ["a", "1,000", "x"], ["longer", "cannot be measured here"], ["b", "2", ""]]
    assert aligned(rows, left={0, 2}) == [
        "name        n  what",
        "a       1,000  x",
        "longer  cannot be measured here",
        "b           2",
    ]
