"""A merged model's tokenizer and its GGUF file's read a conversation as training did, control tokens included."""

from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from pieces import save_pieces
from running import program
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig

from mothertongue import causal, merging, prompts, tokenizer_files

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
CONFIGS = {"gemma": Gemma2Config, "chatml": LlamaConfig}
MESSAGES = [
    {"role": "system", "content": "Responda em português."},
    {"role": "user", "content": "Olá! O que é isto?\n\n  def f(x):\n\treturn x"},
    {"role": "assistant", "content": "Não sei. 42 é a resposta, ação!"},
    {"role": "user", "content": "Obrigado 🙂"},
    {"role": "assistant", "content": "De nada."},
]


@pytest.fixture(params=CONFIGS)
def merged(tmp_path, request):
    """A merged model, and the tokens of a conversation in training."""
    base, adapter, folder = (tmp_path / name for name in ("base", "adapter", "merged"))
    base.mkdir()
    folder.mkdir()
    config = CONFIGS[request.param](vocab_size=save_pieces(base, request.param), num_key_value_heads=2, **SIZES)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    template = prompts.read_template(Path(f"config/templates/{request.param}.jinja"))
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(causal.load_base(base, dtype="float32"), lora).save_pretrained(adapter)
    tokenizer = tokenizer_files.load(base)
    tokenizer.chat_template = template.source
    tokenizer_files.save(tokenizer, adapter)
    merging.merge(adapter, base, merging.FULL, "float32", folder)
    return folder, prompts.encode(MESSAGES, prompts.with_tokens_of(template, tokenizer), tokenizer).input_ids


def test_llama_cpp_reads_a_conversation_as_training_did(merged, tmp_path):
    from ik_llama_cpp._internals import IkModel

    folder, wanted = merged
    program("convert_to_gguf", "--folder", folder, "--output", tmp_path / "f16.gguf")
    tokenizer = tokenizer_files.load(folder)
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False).removeprefix(tokenizer.bos_token)
    assert IkModel(str(tmp_path / "f16.gguf")).tokenize(text, special=True, add_bos=True) == wanted
