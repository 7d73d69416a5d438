"""The sides of the benchmark, each called in a process of its own, and what they translate."""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from mothertongue.common import hardware
from mothertongue.translation import engines, segments
from mothertongue.translation.cli import add_engine_arguments, running_translator
from mothertongue.translation.engines.ctranslate2 import END
from mothertongue.translation.engines.firefox import model_files
from mothertongue.translation.messages import translate_messages
from mothertongue.translation.settings import EngineSettings

SOURCE, TARGET = "en", "pt"
# The loop that people use, and the positions of a Marian model.
BATCH, POSITIONS = 20, 512


@dataclass(frozen=True)
class How:
    """How the sides run. With `fixed` every output is made as long as its sources are on average.

    `batch_tokens` is None for the engine's own number, with 1,024 a worker for the bare side on a CPU, 65,536 on a GPU.
    """

    device: str
    compute_type: str
    batch_tokens: int | None
    workers: int
    fixed: bool = False


@dataclass(frozen=True)
class Corpus:
    """Messages and what they are made of; counts are of the engine's units: tokens, or words for Firefox models."""

    messages: list[str]
    distinct: list[str]
    message_units: int
    segment_units: int
    distinct_units: int


@dataclass(frozen=True)
class Run:
    """What one side took for so many units; `first_batch` is in seconds from the start of its process."""

    units: int
    seconds: float
    core_seconds: float
    memory_bytes: int
    first_batch: float | None = None


class Watch:
    """Seconds on the clock, and of all cores by this process and its children, from its making to `run`."""

    def __init__(self):
        self.clock, self.cores = time.monotonic(), sum(os.times()[:4])

    def run(self, units):
        seconds, cores = time.monotonic() - self.clock, sum(os.times()[:4]) - self.cores
        return Run(units, seconds, cores, hardware.peak_memory())


def take_apart(engine: str, folder: Path, messages: list[str], count: Callable[[str], int] | None = None) -> Corpus:
    """The messages' segments as `engine` cuts them, counted by its own measure or by `count`."""
    model = engines.find(engine)(folder, EngineSettings())
    count = count or model.measure
    parts = [part for text in messages for part in segments.split(text, SOURCE, model.limit, model.measure)]
    found = [part.masked for part in parts if part.translate]
    distinct = sorted(set(found))
    units = [sum(map(count, texts)) for texts in (messages, found, distinct)]
    model.close()
    return Corpus(messages, distinct, *units)


def words(text: str) -> int:
    return len(text.split())


def loop(folder: Path, messages: list[str], how: How) -> Run:
    """transformers' generate over messages in their order; tokens that it cuts away are not counted."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    cuda = how.device == "cuda"
    torch.set_num_threads(how.workers)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dtype = torch.float16 if cuda else torch.float32
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=dtype).to(how.device).eval()
    read = 0
    watch = Watch()
    for start in range(0, len(messages), BATCH):
        batch = tokenizer(
            messages[start : start + BATCH], padding=True, truncation=True, max_length=POSITIONS, return_tensors="pt"
        ).to(how.device)
        read += int(batch["attention_mask"].sum()) - len(batch["input_ids"])  # less the end of each
        width = min(batch["input_ids"].shape[1], POSITIONS - 1)
        length = {"min_new_tokens": width, "max_new_tokens": width} if how.fixed else {"max_length": POSITIONS}
        with torch.inference_mode():
            output = model.generate(**batch, num_beams=1, do_sample=False, **length)
        tokenizer.batch_decode(output, skip_special_tokens=True)
    return watch.run(read)


def ours(engine: str, folder: Path, corpus: Corpus, how: How, started: float, tries: int | None = None) -> Run:
    """The translate step without its files: splitting, tokenising, translating, checks, retries, reassembly.

    `tries` ends after so many ways to translate. The process began at `started`.
    """
    watched = watch_ctranslate2(how.fixed)
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    values = {"engine": engine, "model": folder, "output": os.devnull, "workers": how.workers}
    values |= {"device": how.device, "compute-type": how.compute_type, "batch-tokens": how.batch_tokens or "auto"}
    options = parser.parse_args([f"--{name}={value}" for name, value in values.items()])
    watch = Watch()
    with running_translator(options, SOURCE, TARGET) as translator:
        if engine != "firefox":  # whose processes load the model as they start, on the bare side too
            watch = Watch()
        translate_messages(corpus.messages, replace(translator, strategies=translator.strategies[:tries]))
        run = watch.run(corpus.message_units)
    # Only processes that have ended are counted.
    run = replace(run, core_seconds=watch.run(0).core_seconds)
    return replace(run, first_batch=watched.first - started) if watched.first else run


def bare_ctranslate2(folder: Path, corpus: Corpus, how: How) -> Run:
    """CTranslate2 alone on the distinct segments: tokens made before, batches sorted, the longest first, no scores.

    An output may be as long as twice the longest source of its batch and 30 tokens, which is where ours gives up too.
    """
    import ctranslate2
    from sentencepiece import SentencePieceProcessor

    watch_ctranslate2(how.fixed)
    pieces = SentencePieceProcessor(str(folder / "source.spm")).encode(corpus.distinct, out_type=str)
    tokens = sorted(([*piece, END] for piece in pieces), key=len, reverse=True)
    if how.device == "cpu":
        places = {"inter_threads": how.workers, "intra_threads": 1}
    else:
        places = {"device_index": list(range(ctranslate2.get_cuda_device_count()))}
    model = ctranslate2.Translator(str(folder), device=how.device, compute_type=how.compute_type, **places)
    watch = Watch()
    futures = []
    while tokens:
        longest = len(tokens[0])
        each = how.batch_tokens and how.batch_tokens // model.num_translators
        size = max(1, (each or (1024 if how.device == "cpu" else 65_536)) // longest)
        futures += model.translate_batch(
            tokens[:size],
            asynchronous=True,
            beam_size=1,
            max_input_length=0,
            max_decoding_length=min(2 * longest + 30, POSITIONS - 1),
        )
        tokens = tokens[size:]
    for future in futures:
        future.result()
    return watch.run(corpus.distinct_units)


def bare_fxtranslate(folder: Path, corpus: Corpus, how: How) -> Run:
    """fxtranslate alone on the distinct segments, dealt out to as many processes."""
    watch = Watch()
    with get_context("spawn").Pool(how.workers) as pool:
        shares = [corpus.distinct[start :: how.workers] for start in range(how.workers)]
        pool.starmap(_translate_share, [(folder, share) for share in shares], chunksize=1)
        run = watch.run(corpus.distinct_units)
        pool.close()
        pool.join()
    # Only processes that have ended are counted.
    return replace(run, core_seconds=watch.run(0).core_seconds)


def _translate_share(folder: Path, share: list[str]) -> None:
    from fxtranslate import Translator

    translator = Translator(*(path.read_bytes() for path in model_files(folder)))
    for segment in share:
        translator.translate(segment)


@dataclass(frozen=True)
class Echo:
    """The future of a translation, with its source's tokens in the place of the output's."""

    future: Any
    tokens: list[str]

    def result(self):
        return SimpleNamespace(hypotheses=[self.tokens[:-1]], scores=self.future.result().scores)


def watch_ctranslate2(fixed: bool):
    """Make CTranslate2's translators note when the first batch came, and with `fixed` give outputs of a set length.

    With `fixed` the text of an output is its source: a random model loses every name, and all would be tried again.
    """
    import ctranslate2

    class Watched(ctranslate2.Translator):
        first: float | None = None

        def translate_batch(self, source, *arguments, **options):
            Watched.first = Watched.first or time.monotonic()
            if fixed:
                length = round(fmean(map(len, source)))
                options |= {"min_decoding_length": length, "max_decoding_length": length}
            futures = super().translate_batch(source, *arguments, **options)
            return [Echo(future, tokens) for future, tokens in zip(futures, source, strict=True)] if fixed else futures

    ctranslate2.Translator = Watched
    return Watched
