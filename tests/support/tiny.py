"""Tiny models and tokenizers, made in a second: the real code paths without the cost of a real model."""

from functools import cache
from pathlib import Path

from paths import ROOT


@cache
def tiny_tokenizer():
    """Return a byte-level BPE tokenizer that adds <s> before a text, with ChatML's control tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = ROOT / "config" / "demo" / "messages.jsonl"
    tokenizer.train_from_iterator(sample.read_text(encoding="utf-8").splitlines()[:60], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        clean_up_tokenization_spaces=False,
    )


# The control tokens of the families whose templates we ship: beginning of text (None if there is none), end of text,
# others.
FAMILIES = {
    "llama2": ("<s>", "</s>", []),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", ["<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"]),
    "mistral": ("<s>", "</s>", []),
    "chatml": (None, "<|im_end|>", ["<|im_start|>", "<|endoftext|>"]),
    "gemma": ("<bos>", "<eos>", ["<pad>", "<start_of_turn>", "<end_of_turn>"]),
    "phi3": ("<s>", "<|endoftext|>", ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]),
    "zephyr": ("<s>", "</s>", []),
}


@cache
def family_tokenizer(family, kind):
    """Return a small tokenizer with a family's control tokens: `bytes` like Llama 3, `pieces` like Llama 2."""
    import json

    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bos, eos, others = FAMILIES[family]
    tokenizer = Tokenizer(models.BPE())
    alphabet = []
    if kind == "bytes":
        tokenizer.pre_tokenizer, tokenizer.decoder = (
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            decoders.ByteLevel(),
        )
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    sample = ROOT / "config" / "demo" / "messages.jsonl"
    tokenizer.train_from_iterator(sample.read_text(encoding="utf-8").splitlines()[:60], trainer)
    if kind == "pieces":
        # As converted from SentencePiece: the text is not pre-tokenized, unknown characters fall back to bytes, and
        # Llama 2 adds a space before the text (Gemma does not).
        state = json.loads(tokenizer.to_str())
        vocabulary = state["model"]["vocab"]
        for piece in ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]:
            vocabulary[piece] = len(vocabulary)
        state["model"] |= {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
        tokenizer = Tokenizer.from_str(json.dumps(state | {"pre_tokenizer": None}))
        space = normalizers.Replace(" ", "▁")
        before = [] if family == "gemma" else [normalizers.Prepend("▁")]
        tokenizer.normalizer = normalizers.Sequence([*before, space])
        strip = [] if family == "gemma" else [decoders.Strip(" ", 1, 0)]
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        )
    # Phi-3's control tokens include the white space after them.
    added = [AddedToken(token, special=True, normalized=False, rstrip=family == "phi3") for token in others]
    tokenizer.add_special_tokens([*([bos] if bos else []), eos, *added])
    if bos and family != "phi3":
        first = (bos, tokenizer.token_to_id(bos))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[first])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, clean_up_tokenization_spaces=False
    )


def save_tiny_model(folder: Path, hidden_size: int = 64, initializer_range: float = 0.02) -> None:
    """Write a Llama of random weights with about 100,000 parameters, and the tokenizer, in the hub's layout."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        initializer_range=initializer_range,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_tiny_mixture(folder: Path) -> None:
    """Write a Qwen3-MoE model with four experts, with the same tokenizer."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    tokenizer = tiny_tokenizer()
    sizes = {
        "hidden_size": 64,
        "head_dim": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    Qwen3MoeForCausalLM(Qwen3MoeConfig(vocab_size=len(tokenizer), **sizes, **experts)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
