"""Tests of reading a JSON list in blocks: it gives what json.loads gives, and errors where that has them."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.source import json_list
from mothertongue.source.json_list import JsonList, TooLong

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Slow(io.StringIO):
    """A text of which few characters are read at a time."""

    def read(self, size=-1):
        return super().read(min(size, 7))


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_a_list_read_in_blocks_is_the_list(values, indent, ascii_):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_)
    assert list(JsonList(Slow(text), 1_000)) == values == list(JsonList(io.StringIO(text), 1_000))


@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_errors_have_the_place_that_json_gives(values, data):
    text = json.dumps(values, indent=1)
    at = data.draw(st.integers(1, len(text) - 1))
    broken = data.draw(st.sampled_from([text[:at], text[:at] + "\x01" + text[at:], text[:at] + "}" + text[at:]]))
    try:
        expected = json.loads(broken)
    except json.JSONDecodeError as error:
        with pytest.raises(json.JSONDecodeError) as caught:
            list(JsonList(Slow(broken), 1_000))
        # Between values json names one of the two delimiters.
        if "delimiter" not in error.msg and "Expecting value" not in error.msg and "trailing comma" not in error.msg:
            assert (caught.value.lineno, caught.value.colno) == (error.lineno, error.colno)
    else:
        assert list(JsonList(Slow(broken), 1_000)) == expected


def test_a_row_that_is_too_long_is_not_read_whole(monkeypatch):
    monkeypatch.setattr(json_list, "_BLOCK", 10)
    text = io.StringIO(json.dumps(["short", "x" * 10_000]))
    rows = iter(JsonList(text, 100))
    assert next(rows) == "short"
    with pytest.raises(TooLong):
        next(rows)
    assert text.tell() < 500
