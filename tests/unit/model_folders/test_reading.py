"""Tests of reading foreign model folders: invalid or oversized headers, configurations and cards are refused."""

import json
import re
import shutil
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, PreTrainedTokenizerFast

from mothertongue.common import front_matter
from mothertongue.common.atomic_files import read_json, write_json
from mothertongue.common.errors import UserError
from mothertongue.export.safetensors import open_weights
from mothertongue.model_folders import reading
from mothertongue.model_folders.gguf_header import check_gguf
from mothertongue.model_folders.safetensors_header import read_header
from mothertongue.models import tokenizer_files
from mothertongue.prompts import templates

HUGE = 2**62


def packed(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(dtype="F32", shape=(2, 3), offsets=(0, 24)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


VALID = packed({"__metadata__": {"format": "pt"}, "b": entry(), "a": entry("BF16", (4,), (24, 32))}, bytes(32))
IMPOSSIBLE = {
    "empty": b"",
    "a header longer than the file": (2**40).to_bytes(8, "little") + b"{}",
    "no JSON": packed(b"no JSON at all"),
    "brackets": packed(b"[" * 100_000),
    "a list": packed([]),
    "a tensor that is a list": packed({"a": []}),
    "an unknown type": packed({"a": entry("F128")}, bytes(24)),
    "a shape in words": packed({"a": entry(shape=["2", "3"])}, bytes(24)),
    "a negative shape": packed({"a": entry(shape=(-2, -3))}, bytes(24)),
    "another shape": packed({"a": entry(shape=(2, 4))}, bytes(24)),
    "a shape beyond all memory": packed({"a": entry(shape=(HUGE, HUGE))}, bytes(24)),
    "a negative place": packed({"a": entry(offsets=(-24, 0))}, bytes(24)),
    "a reversed place": packed({"a": entry(offsets=(24, 0))}, bytes(24)),
    "a place in words": packed({"a": entry(offsets=("0", "24"))}, bytes(24)),
    "a place that is true": packed({"a": entry("U8", (1,), (False, True))}, bytes(1)),
    "a place beyond the file": packed({"a": entry(offsets=(HUGE, HUGE + 24))}, bytes(24)),
    "one upon the other": packed({"a": entry(), "b": entry()}, bytes(24)),
    "a hole": packed({"a": entry(offsets=(8, 32))}, bytes(32)),
    "cut short": VALID[:-1],
    "more behind": VALID + b"more",
}  # fmt: skip


def test_a_safetensors_file_is_read_in_the_order_of_its_bytes(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(VALID)
    _, entries = read_header(path)
    assert [(name, one.dtype, one.shape) for name, one in entries.items()] == [("b", "F32", [2, 3]), ("a", "BF16", [4])]
    assert open_weights(path).read("b").shape == (2, 3)


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_invalid_safetensors_file_is_refused_by_name(tmp_path, what):
    path = tmp_path / "a.safetensors"
    path.write_bytes(IMPOSSIBLE[what])
    with pytest.raises(UserError, match=r"a\.safetensors: not a safetensors file"):
        read_header(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["F32", "BF16"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = VALUES | st.fixed_dictionaries({"dtype": VALUES, "shape": VALUES, "data_offsets": VALUES})


@given(
    st.binary(max_size=60)
    | st.builds(packed, st.dictionaries(st.text(max_size=3), ENTRIES, max_size=3), st.binary(max_size=40))
    | st.builds(
        lambda at, byte: VALID[:at] + bytes([byte]) + VALID[at + 1 :],
        st.integers(0, len(VALID) - 1),
        st.integers(0, 255),
    )
)
def test_any_content_of_a_safetensors_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        file = open_weights(path)
        assert sum(one.end - one.start for one in file.entries.values()) < len(content)
    except UserError:
        pass
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


CONFIG = LlamaConfig(vocab_size=1000).to_dict()
ABSURD = {
    "num_hidden_layers": [10**7, -1, 2.5, "2", [2], True],
    "hidden_size": [0, -64, 10**12, float("inf"), float("nan"), "64"],
    "vocab_size": [0, 10**12, "many"],
    "num_attention_heads": [0, -4, 10**7],
    "intermediate_size": [10**12, -(10**12)],
    "max_position_embeddings": [10**12],
    "num_local_experts": [10**7],
    "architectures": ["LlamaForCausalLM", [7], {}],
    "model_type": [7, ["llama"]],
    "quantization_config": [[], "nf4"],
    "text_config": [[], {"num_hidden_layers": 10**7}, {"hidden_size": 0}],
}


@pytest.mark.parametrize("key", ABSURD)
def test_an_impossible_configuration_is_refused_at_once(tmp_path, key):
    reading.check_config(CONFIG, "config.json")
    for value in ABSURD[key]:
        write_json(tmp_path / "config.json", CONFIG | {key: value})
        started = time.monotonic()
        with pytest.raises(UserError, match=r"config\.json: "):
            reading.skeleton(tmp_path)
        assert time.monotonic() - started < 2


def test_a_configuration_larger_than_its_weights_is_refused_before_allocation(tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path, dirs_exist_ok=True)
    assert reading.skeleton(tmp_path).num_parameters() > 100_000
    for changed in ({"hidden_size": 2**20}, {"vocab_size": 10**8}, {"num_hidden_layers": 1000}):
        (tmp_path / "config.json").unlink()
        write_json(tmp_path / "config.json", read_json(tiny_base / "config.json") | changed)
        with pytest.raises(UserError, match="its weight files"):
            reading.skeleton(tmp_path)


def gguf(tensors=0, pairs=0, rest=b"", version=3):
    return b"GGUF" + b"".join(n.to_bytes(size, "little") for n, size in ((version, 4), (tensors, 8), (pairs, 8))) + rest


def string(text, length=None):
    return (len(text) if length is None else length).to_bytes(8, "little") + text


def number(value, size=4):
    return value.to_bytes(size, "little")


BAD_GGUF = {
    "empty": b"",
    "something else": b"something else",
    "another version": gguf(version=9),
    "tensors without an end": gguf(HUGE),
    "values without an end": gguf(0, HUGE),
    "a name without an end": gguf(0, 1, string(b"a", HUGE)),
    "a value of no type": gguf(0, 1, string(b"a") + number(99)),
    "a list without an end": gguf(0, 1, string(b"a") + number(9) + number(0) + number(HUGE, 8)),
    "texts without an end": gguf(0, 1, string(b"a") + number(9) + number(8) + number(HUGE, 8)),
    "lists in lists": gguf(0, 1, string(b"a") + (number(9) + number(9) + number(1, 8)) * 1000),
    "a tensor of many dimensions": gguf(1, 0, string(b"a") + number(2**31) + bytes(100)),
    "a tensor behind the end": gguf(1, 0, string(b"a") + number(1) + number(8, 8) + number(0) + number(HUGE, 8)),
    "cut short": gguf(0, 1, string(b"a") + number(4)),
}


@pytest.mark.parametrize("what", BAD_GGUF)
def test_an_invalid_gguf_file_is_refused_by_name(tmp_path, what):
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf(0, 2, string(b"a") + number(4) + number(7) + string(b"b") + number(8) + string(b"text")))
    check_gguf(path)
    path.write_bytes(BAD_GGUF[what])
    with pytest.raises(UserError, match=r"a\.gguf: not a GGUF file"):
        check_gguf(path)


BOMB = "\n".join(["a0: &a0 [x, x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 30))])
REFUSED_CARDS = {
    "aliases": (f"---\n{BOMB}\nlicense: *a29\n---\n", "aliases"),
    "a long header": ("---\n" + "a: b\n" * 100_000 + "---\n", "longer than"),
    "a header without an end": ("---\n" + "a: b\n" * 100_000, "longer than"),
    "lists in lists": ("---\nlicense: " + "[" * 90_000 + "\n---\n", "lists in lists"),
}


@pytest.mark.parametrize("what", REFUSED_CARDS)
def test_a_card_that_would_exhaust_memory_or_time_is_refused(tmp_path, what):
    text, said = REFUSED_CARDS[what]
    (tmp_path / "README.md").write_text(text)
    started = time.monotonic()
    with pytest.raises(UserError, match=rf"README\.md: .*{said}"):
        front_matter.read_file(tmp_path / "README.md")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("---\nlanguage: [no, pt]\nlicense: mit\n---\nA model.", {"language": ["no", "pt"], "license": "mit"}),
        ("---\r\nlicense: mit\r\n---\r\n", {"license": "mit"}),
        ("---\ndate: 2024-99-99\n---\n", {"date": "2024-99-99"}),
        ("---\n? [a]\n: b\n---\n", {}),
        ("---\na: [\n---\n", {}),
        ("---\n- a\n---\n", {}),
        ("A model.\n---\nlicense: mit\n---\n", {}),
        ("", {}),
    ],
)
def test_a_cards_header_is_read_as_texts(tmp_path, text, values):
    (tmp_path / "README.md").write_bytes(text.encode())
    assert front_matter.read_file(tmp_path / "README.md") == values


def with_tokens(tiny_base, folder, **names):
    """Save the tiny model's tokenizer with added tokens that have no embedding; return the number of embeddings."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_base)
    tokenizer.add_special_tokens(names)
    tokenizer.save_pretrained(folder)
    return reading.embedding_rows(tiny_base)


def test_a_padding_token_without_an_embedding_is_replaced(tiny_base, tmp_path, capsys):
    rows = with_tokens(tiny_base, tmp_path, pad_token="<pad>")
    assert tokenizer_files.load(tmp_path).pad_token_id == rows
    tokenizer = tokenizer_files.load(tmp_path, rows)
    assert tokenizer.pad_token == tokenizer.eos_token and tokenizer.pad_token_id < rows
    assert "does not know its padding token '<pad>'" in capsys.readouterr().err
    with pytest.raises(UserError, match="none of its special tokens is one of the 0 that the model knows"):
        tokenizer_files.load(tmp_path, 0)


def test_a_template_with_tokens_without_an_embedding_is_refused(tiny_base, tmp_path):
    rows = with_tokens(tiny_base, tmp_path, additional_special_tokens=["<|turn|>"])
    (tmp_path / "chat_template.jinja").write_text(
        "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
        "{% else %}{{ m['content'] }}<|im_end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    )
    tokenizer, template = tokenizer_files.load_with_template(tmp_path)
    assert max(templates.encode_prompt(templates.chat("", "a"), template, tokenizer)) == rows
    with pytest.raises(UserError, match=rf"'<\|turn\|>' is number {rows:,}, and the embeddings have {rows:,} rows"):
        tokenizer_files.load_with_template(tmp_path, rows)


GROWING = {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "e"}, "content": "ee"}] * 24}
NOT_TAKEN = {
    "a normalizer that doubles a text again and again": ("tokenizer.json", {"normalizer": GROWING}),
    "tokens made by number": ("tokenizer_config.json", {"extra_ids": 10**8}),
    "labels made by number": ("config.json", {"num_labels": 2 * 10**7}),
    "layers made by number": ("config.json", {"attention_types": [[["global"], 10**8]]}),
    "other weights than those that are merged": ("config.json", {"transformers_weights": "other.safetensors"}),
    "answers in another form": ("config.json", {"return_dict": False}),
    "a window that is no number": ("config.json", {"max_position_embeddings": "x"}),
}


@pytest.mark.parametrize("what", NOT_TAKEN)
def test_costly_or_unexpected_settings_of_a_model_folder_are_refused(tiny_base, tmp_path, what):
    shutil.copytree(tiny_base, tmp_path, dirs_exist_ok=True)
    reading.check(tmp_path)
    name, changed = NOT_TAKEN[what]
    write_json(tmp_path / name, read_json(tmp_path / name) | changed)
    with pytest.raises(UserError, match=re.escape(name)):
        reading.check(tmp_path)


def test_an_adapter_that_changes_the_base_models_weights_is_refused(tiny_base, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base, trust_remote_code=False)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    config = reading.check_adapter(tmp_path)
    for beginning in ("pissa", "pissa_niter_100000000", "olora", "loftq", ["gaussian"]):
        write_json(tmp_path / "adapter_config.json", config | {"init_lora_weights": beginning})
        with pytest.raises(UserError, match="changes the base model's weights"):
            reading.check_adapter(tmp_path)
