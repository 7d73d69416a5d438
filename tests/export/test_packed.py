"""Tests of tiny random models of common families packed by AutoRound: the weights hardly change.

tests/environments tests with vLLM, and a model with a real tokenizer, that other programs load such files.
"""

import random
import shutil
from functools import partial
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import save_tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config, Qwen3MoeConfig

from mothertongue.common.atomic_files import read_json
from mothertongue.common.errors import UserError
from mothertongue.export import auto_round, gptq_awq
from mothertongue.models import causal_lm, tokenizer_files
from mothertongue.prompts import templates

FAMILIES = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "qwen": Qwen2Config,
    "gemma": GemmaConfig,
    "qwen_moe": partial(Qwen3MoeConfig, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64),
}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
PIECES = [[random.Random(piece).randrange(5, 500) for _ in range(64)] for piece in range(8)]


@pytest.mark.parametrize("form", gptq_awq.FORMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_packing_hardly_changes_the_weights(tmp_path, family, form):
    tokenizer, folder, output = tiny_tokenizer(), tmp_path / "model", tmp_path / form
    output.mkdir()
    torch.manual_seed(3)
    config = FAMILIES[family](vocab_size=len(tokenizer), num_key_value_heads=2, initializer_range=0.1, **SIZES)
    model = AutoModelForCausalLM.from_config(config).eval()
    (model.bfloat16() if family == "gemma" else model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert auto_round.pack(folder, form, PIECES, 0, output) == 64
    packed = causal_lm.load_weights(output, gptq_awq.unpacked(output)).eval()
    before, after = (dict(one.named_parameters()) for one in (model, packed))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        # Rounded to the nearest of 16 values, normally distributed weights in groups of 64 have an error of 0.1.
        bound = 0.16 if ".layers." in name and weight.dim() > 1 else 0.01
        assert (after[name].float() - weight.float()).norm() <= bound * weight.norm(), name
    config = read_json(output / "config.json")
    # Models that overflow in float16 are computed in bfloat16.
    assert config["dtype"] == ("bfloat16" if family == "gemma" else "float16")
    settings = config["quantization_config"]
    assert (settings["quant_method"], settings["bits"], settings["group_size"]) == (form, 4, 64)
    assert not [path for path in output.iterdir() if path.is_dir()] and (output / "tokenizer.json").is_file()
    assert (output / "model.safetensors").stat().st_size < 0.75 * (folder / "model.safetensors").stat().st_size


def test_rounding_steps_reduce_the_error_of_the_packed_model(tmp_path, adapter):
    def loss(steps):
        output = tmp_path / str(steps)
        output.mkdir()
        auto_round.pack(adapter / "base", "gptq", PIECES, steps, output)
        return distance(causal_lm.load_weights(output, gptq_awq.unpacked(output)).eval())

    base = causal_lm.load_base(adapter / "base", dtype="float32").eval()

    @torch.inference_mode()
    def distance(model):
        ids = torch.tensor(PIECES)
        return float((model(input_ids=ids).logits.float() - base(input_ids=ids).logits).pow(2).mean())

    assert loss(60) < 0.9 * loss(0)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """Return a folder with the tokenizer and template of an adapter, and with a tiny base model."""
    folder = tmp_path_factory.mktemp("adapter")
    save_tiny_model(folder / "base")
    tiny_tokenizer().save_pretrained(folder)
    shutil.copy("config/templates/chatml.jinja", folder / "chat_template.jinja")
    return folder


THREAD = st.lists(st.text("abcdefgh ", min_size=1, max_size=60), min_size=2, max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.lists(THREAD, min_size=1, max_size=6), st.integers(1, 5), st.sampled_from([8, 32, 200]))
def test_calibration_pieces_have_full_length_and_the_threads_tokens(adapter, texts, count, length):
    threads = [
        {"messages": [{"role": "user" if i % 2 == 0 else "assistant", "content": t} for i, t in enumerate(thread)]}
        for thread in texts
    ]
    tokenizer = tokenizer_files.load(adapter)
    template = templates.with_tokens_of(templates.read_template(adapter), tokenizer)
    whole = [templates.encode(thread["messages"], template, tokenizer).input_ids for thread in threads]
    pieces = auto_round.windows(threads, adapter, adapter / "base", count, length)
    total = sum(map(len, whole))
    assert len(pieces) == max(1, min(count, total // length))
    assert {len(piece) for piece in pieces} == {min(length, total)}
    if len(threads) == 1:
        assert list(chain(*pieces)) == whole[0][: sum(map(len, pieces))]
    assert pieces == auto_round.windows(threads, adapter, adapter / "base", count, length)


def test_calibration_without_threads_is_refused(adapter):
    with pytest.raises(UserError, match="there are no threads to calibrate on"):
        auto_round.windows([], adapter, adapter / "base", 1, 32)


def test_no_calibration_piece_exceeds_the_context_window(adapter, capsys):
    threads = [{"messages": [{"role": "user", "content": "why "}, {"role": "assistant", "content": 4000 * "b d "}]}]
    pieces = auto_round.windows(threads, adapter, adapter / "base", 2, 2048)
    assert [len(piece) for piece in pieces] == [1024, 1024]
    assert "pieces of 1,024 tokens, which the model reads at most, not 2,048" in capsys.readouterr().err
