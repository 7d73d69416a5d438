"""Tests of GGUF files of tiny random models of common families: llama.cpp computes the same as transformers.

They take half a minute, mostly for the start of llama.cpp's converter.
"""

import math

import pytest
import torch
from running import program
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config

from mothertongue.common.atomic_files import read_json, write_jsonl
from mothertongue.models import causal_lm

FAMILIES = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen": Qwen2Config, "gemma": GemmaConfig}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
ENTRIES = 1000


def save_tokenizer(folder):
    """Train and save a small SentencePiece model, the tokenizer of some of these families."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        input="config/demo/messages.jsonl", model_prefix=str(folder / "tokenizer"), vocab_size=ENTRIES, byte_fallback=True,
        minloglevel=2, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_has_the_perplexity_of_transformers(tmp_path, family):
    folder = tmp_path / "model"
    folder.mkdir()
    save_tokenizer(folder)
    torch.manual_seed(2)
    config = FAMILIES[family](vocab_size=ENTRIES, num_key_value_heads=2, initializer_range=0.3, **SIZES)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    ids = torch.randint(5, ENTRIES, (60,)).tolist()
    labels = [-100] * 30 + ids[30:]
    wanted = math.exp(causal_lm.negative_log_likelihood(model, ids, labels) / 30)
    write_jsonl(tmp_path / "tokens.jsonl", [{"input_ids": ids, "labels": labels, "text": ""}])
    program("convert_to_gguf", "--folder", folder, "--name", family, "--output", tmp_path / "f16.gguf")
    options = ("--tokens", tmp_path / "tokens.jsonl", "--output", tmp_path / "found.json")
    program("gguf_perplexity", "--model", tmp_path / "f16.gguf", *options)
    assert read_json(tmp_path / "found.json")["perplexity"] == pytest.approx(wanted, rel=0.03)
    assert wanted > 3 * ENTRIES
