"""Mozilla's Firefox Translations models (CPU), run by fxtranslate."""

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from mothertongue.errors import UserError
from mothertongue.progress import Progress

# Segments a task: few enough to keep all workers busy to the end, enough to hide what a task costs.
_BATCH = 64

_translator = None


class FirefoxEngine:
    """A pool of processes with a translator each: a Translator is bound to the thread that made it."""

    def __init__(self, model: Path, workers: int) -> None:
        model_files(model)
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (model, os.getpid()))

    def translate(self, segments: list[str]) -> list[str]:
        """The translation of each segment; long ones first, so that no worker is left alone with one at the end."""
        order = sorted(range(len(segments)), key=lambda i: len(segments[i]), reverse=True)
        batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        progress = Progress("translate", sum(len(segment.split()) for segment in segments), "words")
        translations = [""] * len(segments)
        results = self._pool.map(_translate, ([segments[i] for i in batch] for batch in batches))
        for batch, texts in zip(batches, results, strict=True):
            for i, text in zip(batch, texts, strict=True):
                translations[i] = text
            progress.advance(sum(len(segments[i].split()) for i in batch))
        progress.finish()
        return translations

    @staticmethod
    def check_model(folder: Path) -> None:
        """Raise UserError where a fetched folder holds no model of this engine."""
        model_files(folder)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder: model, source and target vocabulary, and the lexical shortlist where there is one.

    Raises UserError where one is missing.
    """
    model = _one(folder, "model.*.intgemm.alphas.bin")
    vocabularies = sorted(folder.glob("vocab.*.spm"))
    if not vocabularies:
        vocabularies = [_one(folder, "srcvocab.*.spm"), _one(folder, "trgvocab.*.spm")]
    shortlists = sorted(folder.glob("lex.*.s2t.bin"))
    return [model, vocabularies[0], vocabularies[-1], *shortlists[:1]]


def _one(folder: Path, pattern: str) -> Path:
    for path in sorted(folder.glob(pattern)):
        return path
    raise UserError(f"{folder}: no Firefox translation model in it ({pattern} is missing)")


def _start(folder: Path, parent: int) -> None:
    """Make this worker's translator, and end the worker when its parent is gone, however that died."""
    from fxtranslate import Translator

    global _translator
    _translator = Translator(*(path.read_bytes() for path in model_files(folder)))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _translate(segments: list[str]) -> list[str]:
    return [_translator.translate(segment).strip() for segment in segments]
