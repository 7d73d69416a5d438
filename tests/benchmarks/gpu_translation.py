"""CTranslate2's speed by batch size, on a GPU or (to try this out) on a CPU, for random models of usual shapes.

Called in a process of its own. A random model never ends a text, so each output is made as long as its batch's sources
are on average.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

# Tokens of OASST1's segments, tokenized with OPUS-MT's vocabulary: quantiles from 0% to 100% in steps of a tenth.
LENGTHS = (2, 6, 10, 13, 17, 20, 24, 28, 34, 44, 160)


@dataclass(frozen=True)
class Shape:
    """The sizes of a translation model, and what its class in transformers is."""

    kind: str
    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int


SHAPES = {
    "opus-mt": Shape("marian", 512, 6, 8, 2048, 58_101),
    "nllb-600m": Shape("m2m_100", 1024, 12, 16, 4096, 256_206),
    "madlad-3b": Shape("t5", 1024, 32, 16, 8192, 256_000),
    "tiny": Shape("marian", 32, 1, 2, 64, 1_000),
}


@dataclass(frozen=True)
class Speed:
    """Source tokens a second of one model with one beam and batch size; memory is what the process holds on the GPU."""

    model: str
    beams: int
    batch_tokens: int
    tokens_per_second: float
    memory_mb: int
    failure: str | None = None


def save_model(shape: Shape, folder: Path, compute_type: str) -> int:
    """Write a random model for CTranslate2; return its parameters."""
    import torch
    from ctranslate2.converters import transformers as converters

    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_dtype(torch.float16 if device == "cuda" else torch.float32)
    with torch.device(device):
        model = _model(shape)
    loader = {
        "marian": converters.MarianMTLoader,
        "m2m_100": converters.M2M100Loader,
        "t5": converters.T5Loader,
    }[shape.kind]()
    spec = loader.get_model_spec(model.eval().to("cpu"))
    words = [f"w{number}" for number in range(model.config.vocab_size)]
    words[:3] = ["<pad>", "</s>", "<unk>"]
    if shape.kind == "marian":
        words.pop()  # its converter takes the last entry for padding
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.decoder_start_token = "<pad>"
    spec.config.eos_token, spec.config.unk_token, spec.config.bos_token = "</s>", "<unk>", "</s>"
    spec.validate()
    spec.optimize(quantization=compute_type)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    return model.num_parameters()


def _model(shape: Shape) -> Any:
    from transformers import (
        M2M100Config,
        M2M100ForConditionalGeneration,
        MarianConfig,
        MarianMTModel,
        T5Config,
        T5ForConditionalGeneration,
    )

    if shape.kind == "t5":
        return T5ForConditionalGeneration(
            T5Config(
                vocab_size=shape.vocabulary,
                d_model=shape.width,
                d_kv=128,
                d_ff=shape.inner,
                num_layers=shape.layers,
                num_heads=shape.heads,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
            )
        )
    common = {
        "vocab_size": shape.vocabulary,
        "d_model": shape.width,
        "encoder_layers": shape.layers,
        "decoder_layers": shape.layers,
        "encoder_attention_heads": shape.heads,
        "decoder_attention_heads": shape.heads,
        "encoder_ffn_dim": shape.inner,
        "decoder_ffn_dim": shape.inner,
        "scale_embedding": True,
    }
    if shape.kind == "marian":
        return MarianMTModel(
            MarianConfig(
                **common,
                max_position_embeddings=512,
                activation_function="swish",
                static_position_embeddings=True,
                pad_token_id=0,
                decoder_start_token_id=0,
                eos_token_id=1,
            )
        )
    return M2M100ForConditionalGeneration(M2M100Config(**common, max_position_embeddings=1024))


def segments(count: int, vocabulary: int) -> list[list[str]]:
    """Return random segments with the lengths of OASST1's, the longest first, as the engine sorts them."""
    dice = random.Random(1)
    lengths = []
    for _ in range(count):
        tenth = dice.randrange(10)
        lengths.append(dice.randint(LENGTHS[tenth], LENGTHS[tenth + 1]))
    lengths.sort(reverse=True)
    return [[f"w{dice.randrange(3, vocabulary)}" for _ in range(length)] for length in lengths]


def measure(
    name: str,
    folder: Path,
    device: str,
    compute_type: str,
    plan: Sequence[tuple[int, int, int]],
    until: float,
    workers: int = 1,
) -> list[Speed]:
    """Return the speed with each (beams, tokens a batch, segments) of `plan`; what begins after `until` is left out."""
    import ctranslate2

    translator = ctranslate2.Translator(
        str(folder), device=device, compute_type=compute_type, inter_threads=workers, intra_threads=1
    )
    corpus = segments(max(count for _, _, count in plan), SHAPES[name].vocabulary)
    speeds = []
    _translate(translator, corpus[-64:], 1, 1024)
    for beams, batch_tokens, count in plan:
        if time.time() > until:
            print(f"  out of time: {name}, beams {beams}, {batch_tokens}", flush=True)
            continue
        # Evenly from the sorted segments, so that every size reads the same lengths.
        some = corpus[:: max(1, len(corpus) // count)]
        try:
            began = time.perf_counter()
            _translate(translator, some, beams, batch_tokens)
            seconds = time.perf_counter() - began
            speed = Speed(name, beams, batch_tokens, sum(map(len, some)) / seconds, _memory_mb(device))
        except RuntimeError as error:
            speed = Speed(name, beams, batch_tokens, 0, _memory_mb(device), str(error)[:200])
        speeds.append(speed)
        print(
            f"  {name:10} beams {beams} {batch_tokens:7,} tokens a batch: "
            + (speed.failure or f"{speed.tokens_per_second:10,.0f} tokens/s {speed.memory_mb:7,} MB ({seconds:.1f} s)"),
            flush=True,
        )
    return speeds


def _translate(translator: Any, corpus: Sequence[list[str]], beams: int, batch_tokens: int) -> None:
    """Translate all segments, handing over a batch at a time a worker ahead, as the engine does."""
    waiting: list[Any] = []
    for batch in _batches(corpus, batch_tokens):
        length = round(fmean(map(len, batch)))
        waiting += translator.translate_batch(
            batch,
            beam_size=beams,
            asynchronous=True,
            min_decoding_length=length,
            max_decoding_length=length,
        )
    for result in waiting:
        result.result()


def _batches(corpus: Sequence[list[str]], batch_tokens: int) -> Iterator[list[list[str]]]:
    """Yield the segments in batches of at most so many tokens with padding (one segment at least)."""
    batch: list[list[str]] = []
    for segment in corpus:
        longest = max(len(segment), len(batch[0]) if batch else 0)
        if batch and longest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(segment)
    if batch:
        yield batch


def _memory_mb(device: str) -> int:
    """Return the GPU memory in use by everybody, in MiB; 0 without a GPU."""
    if device != "cuda":
        return 0
    import torch

    free, total = torch.cuda.mem_get_info()
    return (total - free) // 2**20
