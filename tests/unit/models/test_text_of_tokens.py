"""Tests of the text of tokens that come one by one: its pieces are the decoded text, and no character is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import family_tokenizer, tiny_tokenizer

from mothertongue.models.text_of_tokens import TextOfTokens

TOKENIZERS = {
    "ChatML, bytes": lambda: family_tokenizer("chatml", "bytes"),
    "Llama 2, pieces": lambda: family_tokenizer("llama2", "pieces"),
    "Gemma, pieces": lambda: family_tokenizer("gemma", "pieces"),
    "tiny": tiny_tokenizer,
}
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text("ab \n\té", max_size=40),
    st.lists(st.sampled_from(["مرحبا", "שלום", "नमस्ते", "你好", "👩‍👩‍👧", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "a", " ", "\n", "\ufffd"])).map("".join),
)


def pieces(tokenizer, tokens):
    text = TextOfTokens(tokenizer)
    return [*(text.add(token) for token in tokens), text.rest()]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=TEXTS)
def test_the_pieces_are_the_text_and_no_character_is_cut(name, text):
    tokenizer = TOKENIZERS[name]()
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    expected = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    found = pieces(tokenizer, tokens)
    assert "".join(found) == expected
    assert "\ufffd" in expected or not any("\ufffd" in piece for piece in found)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
def test_the_pieces_of_arbitrary_tokens_are_their_text(name, data):
    tokenizer = TOKENIZERS[name]()
    tokens = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    expected = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    # A byte that is no text makes a tokenizer of pieces forget the characters before it, which were handed on by then.
    assert "".join(pieces(tokenizer, tokens)) == expected or ("pieces" in name and "\ufffd" in expected)
