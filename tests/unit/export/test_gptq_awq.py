"""Tests of the GPTQ and AWQ formats: unpacking as in AutoGPTQ and AutoAWQ, group sizes, unsupported models."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Gemma3Config, MixtralConfig, Qwen3MoeConfig

from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import UserError
from mothertongue.export import gptq_awq, linear_layers
from mothertongue.export.linear_layers import LinearLayer

MODEL = Path("model")
# The order of AutoAWQ: output i of eight is stored in the four bits from 4 * AWQ[i].
AWQ = [0, 4, 1, 5, 2, 6, 3, 7]


def packed(values, places):
    """Pack eight 4-bit values into one signed 32-bit number."""
    number = sum(int(value) << 4 * place for value, place in zip(values, places, strict=True))
    return number - 2**32 if number >= 2**31 else number


@st.composite
def weights(draw):
    """Draw codes (inputs x outputs), zero points and scales (groups x outputs)."""
    groups, size, outputs = draw(st.integers(1, 3)), draw(st.sampled_from([8, 16])), 8 * draw(st.integers(1, 2))
    torch.manual_seed(draw(st.integers(0, 9999)))
    codes = torch.randint(0, 16, (groups * size, outputs))
    return codes, torch.randint(1, 16, (groups, outputs)), torch.rand(groups, outputs).half()


def meant(codes, zeros, scales):
    """Compute the dequantised weight (outputs x inputs) number by number."""
    size = len(codes) // len(zeros)
    rows = [
        [float(scales[i // size, o]) * (int(codes[i, o]) - int(zeros[i // size, o])) for i in range(len(codes))]
        for o in range(codes.shape[1])
    ]
    return torch.tensor(rows)


@given(weights())
def test_gptq_packs_along_inputs_and_stores_zero_points_minus_one(drawn):
    codes, zeros, scales = drawn
    inputs, outputs = codes.shape
    plain = range(8)
    qweight = [[packed(codes[8 * i : 8 * i + 8, o], plain) for o in range(outputs)] for i in range(inputs // 8)]
    qzeros = [[packed(row[8 * o : 8 * o + 8] - 1, plain) for o in range(outputs // 8)] for row in zeros]
    parts = {"qweight": torch.tensor(qweight).int(), "qzeros": torch.tensor(qzeros).int(), "scales": scales}
    assert torch.allclose(gptq_awq.unpack_gptq(parts), meant(*drawn))
    # With a group index for each input, the inputs may be in any order.
    order = torch.randperm(inputs)
    said = order // (inputs // len(zeros))
    expected = torch.stack([(codes[i] - zeros[said[i]]) * scales[said[i]].float() for i in range(inputs)], dim=1)
    assert torch.allclose(gptq_awq.unpack_gptq(parts | {"g_idx": said.int()}), expected)


@given(weights())
def test_awq_packs_along_outputs_in_its_own_order(drawn):
    codes, zeros, scales = drawn
    qweight, qzeros = (
        [[packed(row[8 * o : 8 * o + 8], AWQ) for o in range(len(row) // 8)] for row in rows] for rows in (codes, zeros)
    )
    parts = {"qweight": torch.tensor(qweight).int(), "qzeros": torch.tensor(qzeros).int(), "scales": scales}
    assert torch.allclose(gptq_awq.unpack_awq(parts), meant(*drawn))


def test_the_largest_group_size_that_divides_every_row_is_chosen():
    def size(*rows):
        return gptq_awq.group_size([LinearLayer("a", inputs, outputs) for inputs, outputs in rows], "awq", MODEL)

    assert (size((4096, 11008), (11008, 4096)), size((576, 1536), (1536, 576)), size((96, 8))) == (128, 64, 32)
    for inputs, outputs in ((48, 64), (64, 12)):
        with pytest.raises(UserError, match=rf"^model: a, {outputs} rows of {inputs} weights, cannot be packed as awq"):
            size((64, 64), (inputs, outputs))
    with pytest.raises(UserError, match="model: has no linear layers that can be packed as awq"):
        size()


def test_other_quantisation_formats_are_refused(tmp_path):
    for settings in ({}, {"quant_method": "gptq", "bits": 8}, {"quant_method": "awq", "bits": 4, "version": "gemv"}):
        write_json(tmp_path / "config.json", {"quantization_config": settings})
        with pytest.raises(UserError, match="not packed in 4 bits as gptq or awq"):
            gptq_awq.unpacked(tmp_path)


def test_unsupported_model_types_are_refused_by_their_configuration(tmp_path):
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "vocab_size": 99}
    text = sizes | {"head_dim": 16, "model_type": "gemma3_text"}
    refused = {
        "does not load the experts of a mixtral model packed as awq": MixtralConfig(num_local_experts=2, **sizes),
        "takes more than text, and such a model cannot be packed as awq": Gemma3Config(text_config=text),
    }
    for said, config in refused.items():
        config.save_pretrained(tmp_path)
        with pytest.raises(UserError, match=said):
            linear_layers.packed_layers(tmp_path, "awq")
    write_json(tmp_path / "config.json", {"model_type": "of_tomorrow", "auto_map": {"AutoConfig": "new.Config"}})
    with pytest.raises(UserError, match="the model needs code of its own"):
        linear_layers.packed_layers(tmp_path, "awq")


def test_the_linear_layers_of_experts_are_packed(tmp_path):
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    Qwen3MoeConfig(num_experts=2, moe_intermediate_size=32, head_dim=16, vocab_size=99, **sizes).save_pretrained(
        tmp_path
    )
    layers = linear_layers.packed_layers(tmp_path, "gptq")
    assert gptq_awq.group_size(layers, "gptq", MODEL) == 32


def test_row_lengths_of_a_vision_model_are_those_of_its_language_model(tmp_path):
    """The rows of the vision tower's patches (14 weights) are not in the GGUF file of the language model."""
    text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    text |= {"model_type": "gemma3_text", "num_key_value_heads": 4, "head_dim": 16, "vocab_size": 99}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    Gemma3Config(text_config=text, vision_config=vision).save_pretrained(tmp_path)
    assert linear_layers.row_lengths(tmp_path) == {64: 7, 128: 1}
