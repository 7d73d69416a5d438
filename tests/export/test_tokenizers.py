"""A merged model's GGUF file reads a conversation as training did, control tokens included."""

import pytest
from pieces import FAMILIES, MESSAGES, save_merged
from running import program

from mothertongue import tokenizer_files


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_reads_a_conversation_as_training_did(tmp_path, family):
    from ik_llama_cpp._internals import IkModel

    wanted = save_merged(tmp_path, family)
    program("convert_to_gguf", "--folder", tmp_path / "merged", "--output", tmp_path / "f16.gguf")
    tokenizer = tokenizer_files.load(tmp_path / "merged")
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False).removeprefix(tokenizer.bos_token)
    assert IkModel(str(tmp_path / "f16.gguf")).tokenize(text, special=True, add_bos=True) == wanted
