"""A model of OPUS-MT's usual size with random weights: as fast as a trained one if the length of outputs is fixed."""

import json
import shutil
from pathlib import Path

# The vocabulary size of Helsinki-NLP/opus-mt-en-de and many others.
ENTRIES = 58_101


def save(folder: Path, vocabulary: Path) -> None:
    """Write a Marian model in the hub's layout that uses the SentencePiece model `vocabulary`.

    Further entries fill up the vocabulary: they never occur in texts, but cost time in every step.
    """
    import torch
    from sentencepiece import SentencePieceProcessor
    from transformers import GenerationConfig, MarianConfig, MarianMTModel

    pieces = SentencePieceProcessor(str(vocabulary))
    entries = [pieces.id_to_piece(number) for number in range(len(pieces))]
    entries = list(dict.fromkeys(["</s>", "<unk>", *entries]))
    entries += [f"▁entry{number}" for number in range(len(entries), ENTRIES - 1)] + ["<pad>"]
    start = ENTRIES - 1
    torch.manual_seed(1)
    config = MarianConfig(
        vocab_size=ENTRIES,
        d_model=512,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=2048,
        decoder_ffn_dim=2048,
        max_position_embeddings=512,
        activation_function="swish",
        scale_embedding=True,
        static_position_embeddings=True,
        pad_token_id=start,
        decoder_start_token_id=start,
        eos_token_id=0,
        forced_eos_token_id=0,
    )
    model = MarianMTModel(config)
    model.generation_config = GenerationConfig.from_model_config(config)
    model.save_pretrained(folder)
    for name in ("source.spm", "target.spm"):
        shutil.copyfile(vocabulary, folder / name)
    numbers = {entry: number for number, entry in enumerate(entries)}
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"source_lang": "en", "target_lang": "pt"}))
