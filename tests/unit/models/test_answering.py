"""Tests of generation: an answer does not depend on the other prompts of its batch, nor on what they share."""

import pytest
import torch
from tiny import family_tokenizer
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, set_seed

from mothertongue.models import answering

SIZES = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.4,
}  # fmt: skip


class Numbers:
    """A tokenizer whose text is the tokens' numbers."""

    eos_token_id, pad_token_id = 1, 0

    def decode(self, tokens, skip_special_tokens):
        return " ".join(map(str, tokens))


@pytest.fixture(scope="module", params=["all tokens", "sliding window"])
def model(request):
    set_seed(1)
    if request.param == "all tokens":
        return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=24)).eval()


def prompts(shared, count=9):
    draw = torch.Generator().manual_seed(shared)
    numbers = torch.randint(5, 100, (200,), generator=draw).tolist()
    return [numbers[:shared] + numbers[100 + n : 103 + n + n % 4] for n in range(count)]


@pytest.mark.parametrize("shared", [0, 5, 40])
def test_answers_are_those_of_prompts_alone(model, shared, monkeypatch):
    asked, decoding = prompts(shared), answering.Decoding(40)
    alone = [answering.generate(model, Numbers(), [prompt], 7, decoding)[0] for prompt in asked]
    calls = []
    monkeypatch.setattr(
        model, "generate", lambda **values: calls.append(values) or type(model).generate(model, **values)
    )
    assert answering.generate(model, Numbers(), asked, 7, decoding) == alone
    assert len({text for text, _ in alone}) > 1
    plain = isinstance(model, LlamaForCausalLM)
    first = next(values for values in calls if len(values["input_ids"]) > 1)
    assert (first["past_key_values"] is not None) == (plain and shared == 40)


def test_answers_that_have_ended_leave_the_batch(model, monkeypatch):
    asked, decoding = prompts(3), answering.Decoding(40)
    whole = answering.generate(model, Numbers(), asked, Numbers.eos_token_id, decoding)
    # An end token that some answers contain early, and others do not.
    words = [text.split() for text, _ in whole]
    stop = next(int(word) for word in words[0] if 0 < sum(word in answer[:16] for answer in words) < len(words))
    sizes = []
    monkeypatch.setattr(
        model,
        "generate",
        lambda **values: sizes.append(len(values["input_ids"])) or type(model).generate(model, **values),
    )
    found = answering.generate(model, Numbers(), asked, stop, decoding)
    for one, (before, ended) in zip(found, whole, strict=True):
        answer = before.split()
        kept = answer[: answer.index(str(stop))] if str(stop) in answer else answer
        assert (one[0].split(), one[1]) == (kept, kept != answer or ended)
    assert len(sizes) > 1 and (sizes[-1] < sizes[0]) == isinstance(model, LlamaForCausalLM)


def test_a_batch_does_not_copy_the_head(monkeypatch):
    """Where the head's input has gaps, a product for each prompt has a copy of the head's weights."""
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    products = []
    multiply = torch.nn.functional.linear

    def linear(states, weight, bias=None):
        if weight is model.lm_head.weight:
            products.append(states.is_contiguous())
        return multiply(states, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    answering.generate(model, Numbers(), prompts(0), 7, answering.Decoding(4))
    assert products and all(products)


class Parrot(LlamaForCausalLM):
    """A model that says the tokens of `says` after a prompt of one token."""

    says = ()

    def forward(self, *inputs, **more):
        found = super().forward(*inputs, **more)
        found.logits[:, -1, self.says[found.past_key_values.get_seq_length() - 1]] = 1e4
        return found


@pytest.mark.parametrize("family", ["llama2", "chatml"])
def test_what_is_printed_is_the_answer(family, capsys):
    """Indented lines stay so, and an end token is not said, also where it is not marked as special."""
    tokenizer = family_tokenizer(family, "pieces" if family == "llama2" else "bytes")
    tokenizer.add_tokens([AddedToken("<end>", special=False)])
    tokenizer.pad_token = tokenizer.eos_token
    text, end = "def f(x):\n    if x:\n        return 1\n\n- a\n  - b", tokenizer.convert_tokens_to_ids("<end>")
    model = Parrot(LlamaConfig(**SIZES | {"vocab_size": len(tokenizer)})).eval()
    model.says = [*tokenizer(text, add_special_tokens=False)["input_ids"], end]
    asked = (model, tokenizer, [5], end, answering.Decoding(100))
    assert answering.stream(*asked) == text
    assert capsys.readouterr().out == f"{text}\n"
    assert answering.generate(model, tokenizer, [[5]], *asked[3:]) == [(text, True)]
