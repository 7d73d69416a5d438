"""Tests of saved tokenizers: they encode texts as before, and the GGUF file of a merged model as in training."""

import itertools

import pytest
from pieces import FAMILIES, MESSAGES, save_merged, save_pieces
from running import program
from tiny import FAMILIES as TEMPLATES
from tiny import family_tokenizer

from mothertongue.common.atomic_files import read_json, write_json, write_jsonl
from mothertongue.models import tokenizer_files

TEXTS = (
    "", "a", " a\n", "<|im_start|>user\nOi  b<|im_end|> c\n", "<start_of_turn>user\nOi\t b<end_of_turn> c",
    "<s>[INST] a [/INST] é🙂</s><s> [INST]x",
)  # fmt: skip


def read_by(tokenizer):
    return [tokenizer(text, add_special_tokens=special).input_ids for text in TEXTS for special in (True, False)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("legacy", [True, False])
def test_tokenizers_of_pieces_keep_their_settings(tmp_path, family, legacy):
    for number, (first, prefix) in enumerate(itertools.product((True, False), repeat=2)):
        fetched, written = tmp_path / f"fetched{number}", tmp_path / f"written{number}"
        fetched.mkdir()
        save_pieces(fetched, family, legacy=legacy, add_bos_token=first, add_prefix_space=prefix)
        write_json(fetched / "config.json", {"model_type": {"gemma": "gemma2", "chatml": "llama"}[family]})
        tokenizer = tokenizer_files.load(fetched)
        tokenizer_files.save(tokenizer, written)
        assert read_by(tokenizer_files.load(written)) == read_by(tokenizer)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("family", TEMPLATES)
def test_tokenizers_of_every_family_keep_their_control_tokens(tmp_path, family, kind):
    tokenizer = family_tokenizer(family, kind)
    tokenizer_files.save(tokenizer, tmp_path)
    assert read_by(tokenizer_files.load(tmp_path)) == read_by(tokenizer)
    # Read by programs that do not read tokenizer.json, or that treat a tokenizer of an unknown class as BERT's.
    settings = read_json(tmp_path / "tokenizer_config.json")
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]
    added = settings["added_tokens_decoder"]
    assert {token["content"] for token in added.values()} >= {token for token in tokenizer.all_special_tokens if token}


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_encodes_a_conversation_as_in_training(tmp_path, family):
    wanted = save_merged(tmp_path, family)
    program("convert_to_gguf", "--folder", tmp_path / "merged", "--output", tmp_path / "f16.gguf")
    tokenizer = tokenizer_files.load(tmp_path / "merged")
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False).removeprefix(tokenizer.bos_token)
    row = {"input_ids": wanted, "labels": wanted, "text": tokenizer.bos_token + text}
    write_jsonl(tmp_path / "tokens.jsonl", [row, row | {"text": tokenizer.bos_token}])
    options = ("--tokens", tmp_path / "tokens.jsonl", "--output", tmp_path / "found.json")
    program("gguf_perplexity", "--model", tmp_path / "f16.gguf", *options)
    found = read_json(tmp_path / "found.json")
    assert (found["alike"], found["tokens"]) == (len(wanted) + 1, 2 * len(wanted))
