"""A merged model's GGUF file reads a conversation as training did, control tokens included."""

import pytest
from pieces import FAMILIES, MESSAGES, save_merged
from running import program

from mothertongue import tokenizer_files
from mothertongue.files import read_json, write_jsonl


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_reads_a_conversation_as_training_did(tmp_path, family):
    wanted = save_merged(tmp_path, family)
    program("convert_to_gguf", "--folder", tmp_path / "merged", "--output", tmp_path / "f16.gguf")
    tokenizer = tokenizer_files.load(tmp_path / "merged")
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False).removeprefix(tokenizer.bos_token)
    row = {"input_ids": wanted, "labels": wanted, "text": tokenizer.bos_token + text}
    write_jsonl(tmp_path / "tokens.jsonl", [row, row | {"text": row["text"].replace(" ", "")}])
    options = ("--tokens", tmp_path / "tokens.jsonl", "--output", tmp_path / "found.json")
    program("gguf_perplexity", "--model", tmp_path / "f16.gguf", *options)
    assert read_json(tmp_path / "found.json")["alike"] == 1
