"""Tests of the conversation: it drops only as many old exchanges as necessary, and finds them in linear time."""

import pytest
import torch
from chats import said, with_added
from costs import cost
from hypothesis import given, settings
from hypothesis import strategies as st
from official_templates import CHATML, template
from tiny import family_tokenizer
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM

from mothertongue.chat.conversation import Conversation, Speaker, fit
from mothertongue.common.errors import UserError
from mothertongue.models.answering import Decoding
from mothertongue.prompts import templates


def speaker(tokenizer, window, own=None, system_prompt="Seja breve."):
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=window, **sizes))
    return Speaker.of(model.eval(), tokenizer, own or template("chatml", tokenizer), system_prompt, Decoding(20))


def asked(*sizes):
    """Return exchanges whose questions have the given numbers of words, and a last question."""
    return [turn for at, size in enumerate(sizes) for turn in said(f"{at}" + " sim" * size)] + said("E agora?")[:1]


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(0, 60), max_size=12), window=st.integers(80, 600), system=st.booleans())
def test_only_as_many_old_exchanges_are_dropped_as_necessary(sizes, window, system):
    tokenizer = family_tokenizer("chatml", "bytes")
    one = speaker(tokenizer, window, system_prompt="Seja breve." if system else "")
    messages = asked(*sizes)
    before = [{"role": "system", "content": "Seja breve."}] if system else []
    for dropped in range(len(sizes) + 1):
        expected = [*before, *messages[2 * dropped :]]
        tokens = templates.encode_prompt(expected, one.asking.template, tokenizer)
        if len(tokens) <= window - 20:
            break
    if len(tokens) >= window:
        with pytest.raises(UserError, match="shorten it"):
            fit(one.asking, messages)
    else:
        assert fit(one.asking, messages) == (expected, tokens)


def test_an_empty_system_prompt_in_front_stands_for_none():
    tokenizer = family_tokenizer("chatml", "bytes")
    one, asks = speaker(tokenizer, 600, system_prompt="Seja breve."), said("E agora?")[:1]
    plain, _ = fit(speaker(tokenizer, 600, system_prompt="").asking, asks)
    assert fit(one.asking, [{"role": "system", "content": ""}, *asks])[0] == plain == asks
    assert fit(one.asking, asks)[0] == [{"role": "system", "content": "Seja breve."}, *asks]


@pytest.mark.costly
@pytest.mark.parametrize("marks", [True, False])
def test_the_cost_of_dropping_exchanges_grows_linearly(marks):
    tokenizer = family_tokenizer("chatml", "bytes")
    one = speaker(tokenizer, 1024, None if marks else templates.Template(CHATML))
    short, long = asked(*[3] * 300), asked(*[3] * 1_200)
    assert cost(lambda: fit(one.asking, long)) < 8 * cost(*[lambda: fit(one.asking, short)] * 2)


def test_a_message_with_a_control_token_is_refused_and_leaves_the_conversation_unchanged(capfd):
    tokenizer = with_added([AddedToken("@", special=True)])
    conversation = Conversation(speaker(tokenizer, 1024))
    conversation.answer("Olá!")
    before = conversation.messages
    with pytest.raises(UserError, match=r"a message becomes control tokens of the model \('@'\)"):
        conversation.answer("eu@aqui")
    assert conversation.messages == before and len(before) == 3
    tokenizer.pad_token = tokenizer.eos_token
    replies = conversation.speaker.answer_all({3: said("a")[:1], 7: said("@")[:1]}, 2, lambda _: None)
    assert replies[3].error is None and "control tokens" in replies[7].error and replies[7].text is None
    assert "line 7 is not answered: a message becomes control tokens" in capfd.readouterr().err
    with pytest.raises(UserError, match="no prompt can be asked; line 7: a message becomes control tokens"):
        conversation.speaker.answer_all({7: said("@")[:1]}, 2, lambda _: None)
