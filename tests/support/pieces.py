"""Small SentencePiece tokenizers with control tokens of chat models, and merged models of random weights with them.

As on the hub, Gemma's control tokens are in the SentencePiece model itself, ChatML's are added to that of Llama or
Mistral.
"""

from pathlib import Path

ENTRIES = 1000
_GEMMA = {
    "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>",
    "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"], "add_dummy_prefix": False,
}  # fmt: skip
# Options for training the SentencePiece model, its first tokens in order, and the tokenizer's settings.
FAMILIES = {
    "gemma": (
        _GEMMA,
        ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
        {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
    ),
    "chatml": (
        {},
        ["<unk>", "<s>", "</s>"],
        {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "<|im_end|>"},
    ),
}
_ADDED = {"gemma": [], "chatml": ["<|im_end|>", "<|im_start|>"]}


def save_pieces(folder: Path, family: str, **more: bool) -> int:
    """Write tokenizer.model and tokenizer_config.json, with additional settings; return the number of tokens."""
    import sentencepiece

    from mothertongue.common.atomic_files import write_json

    options, tokens, settings = FAMILIES[family]
    sentencepiece.SentencePieceTrainer.train(
        input="config/demo/messages.jsonl", model_prefix=str(folder / "tokenizer"), vocab_size=ENTRIES, byte_fallback=True,
        model_type="bpe", minloglevel=2, **options,
    )  # fmt: skip
    (folder / "tokenizer.vocab").unlink()
    form = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False) | {"special": True}
    numbered = dict(enumerate(tokens)) | dict(enumerate(_ADDED[family], start=ENTRIES))
    added = {str(number): {"content": token} | form for number, token in numbered.items()}
    others = [token for token in numbered.values() if "turn" in token or "im_" in token]
    common = {"unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False, "additional_special_tokens": others}
    write_json(folder / "tokenizer_config.json", settings | common | more | {"added_tokens_decoder": added})
    return ENTRIES + len(_ADDED[family])


MESSAGES = [
    {"role": "system", "content": "Responda em português."},
    {"role": "user", "content": "Olá! O que é isto?\n\n  def f(x):\n\treturn x"},
    {"role": "assistant", "content": "Não sei. 42 é a resposta, ação!"},
    {"role": "user", "content": "Obrigado 🙂"},
    {"role": "assistant", "content": "De nada."},
]


def save_merged(folder: Path, family: str) -> list[int]:
    """Write base/, adapter/ and merged/ with a base model, an adapter and both merged; return the tokens of MESSAGES.

    The tokens are those of training. The base model has the format of transformers 4, as on the hub.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig

    from mothertongue.common.atomic_files import read_json, write_json
    from mothertongue.export import merge
    from mothertongue.models import causal_lm, tokenizer_files
    from mothertongue.models.fetch_base import with_older_names
    from mothertongue.prompts import templates

    base, adapter, merged = (folder / name for name in ("base", "adapter", "merged"))
    base.mkdir()
    merged.mkdir()
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": save_pieces(base, family, legacy=True)}
    scaling = {"rope_type": "linear", "factor": 4.0, "rope_theta": 500_000.0}
    model = {"gemma": GemmaConfig, "chatml": LlamaConfig}[family](**sizes, rope_parameters=scaling)
    AutoModelForCausalLM.from_config(model).save_pretrained(base)
    config = with_older_names(read_json(base / "config.json"))
    write_json(base / "config.json", {name: value for name, value in config.items() if name != "rope_parameters"})
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(causal_lm.load_base(base, dtype="float32"), lora).save_pretrained(adapter)
    template, tokenizer = templates.read_template(Path(f"config/templates/{family}.jinja")), tokenizer_files.load(base)
    tokenizer.chat_template = template.source
    tokenizer_files.save(tokenizer, adapter)
    merge.merge(adapter, base, merge.FULL, "float32", merged)
    return templates.encode(MESSAGES, templates.with_tokens_of(template, tokenizer), tokenizer).input_ids
