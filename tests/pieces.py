"""Small SentencePiece tokenizers with the control tokens of chat models, as the hub has them: Gemma's in the model
itself, ChatML's laid on top of a Llama's or Mistral's."""

from pathlib import Path

ENTRIES = 1000
_GEMMA = {
    "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>",
    "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"], "add_dummy_prefix": False,
}  # fmt: skip
# How the model is made, its tokens by number, and its settings.
FAMILIES = {
    "gemma": (
        _GEMMA,
        ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
        {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
    ),
    "chatml": (
        {},
        ["<unk>", "<s>", "</s>"],
        {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "<|im_end|>", "legacy": True},
    ),
}
_ADDED = {"gemma": [], "chatml": ["<|im_end|>", "<|im_start|>"]}


def save_pieces(folder: Path, family: str) -> int:
    """Write tokenizer.model and tokenizer_config.json; returns the number of tokens."""
    import sentencepiece

    from mothertongue.files import write_json

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
    write_json(folder / "tokenizer_config.json", settings | common | {"added_tokens_decoder": added})
    return ENTRIES + len(_ADDED[family])
