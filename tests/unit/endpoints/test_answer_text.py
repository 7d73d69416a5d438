"""Tests of what counts as no text in a model's answer."""

import pytest

from mothertongue.endpoints.answer_text import has_control_characters


@pytest.mark.parametrize("text", ["Olá! Sim.", "🩷 🫩 👩‍👩‍👧", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "مرحبا\u200f!", "می\u200cخواهم", "שלום\u200e (1)"])
def test_good_text_has_no_control_characters(text):
    assert not has_control_characters(text)


@pytest.mark.parametrize(
    "text", ["a\x1b[31m", "a\u202eb", "a\ufffdb", "a\ue000b", "a\u2066b", "a\U000e0061b", "a\U000effff", "a\x00"]
)
def test_what_acts_or_is_damaged_is_found_where_the_source_does_not_have_it(text):
    assert has_control_characters(f"Olá. {text}") and not has_control_characters(text, text)
