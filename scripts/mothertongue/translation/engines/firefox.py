"""Mozilla's Firefox Translations models (MPL-2.0): small students, on CPUs only, run by fxtranslate."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import byte_length
from mothertongue.common.progress import Progress
from mothertongue.common.tsv import read_table
from mothertongue.translation.engines.base import Engine, LanguagePair, LanguagePairs, Output
from mothertongue.translation.settings import EngineSettings

if TYPE_CHECKING:
    from fxtranslate import Translator

# Segments a task: few enough to keep all workers busy to the end, enough to hide what a task costs.
_BATCH = 64
# A word that every model has a translation for, and the seconds that it may take a process to start and translate it.
_WORD, _PATIENCE = "Hello", 60

# Of a worker: see _start.
_translator: "Translator"


class Firefox(Engine):
    """A pool of processes with a translator each: a Translator is bound to the thread that made it."""

    FETCH = "firefox"
    MODEL_MB = 60
    ON_GPU = False
    # The models cut what is longer without a word; in bytes, since fxtranslate does not show its tokens.
    limit = 480

    @classmethod
    def pairs(cls, tables: Path, model: str | None) -> LanguagePairs:
        """The released pairs of firefox_models.tsv, by Mozilla's own codes."""
        return {
            (row["source"], row["target"]): LanguagePair(f"firefox:{row['model']}", licence="mpl-2.0")
            for row in read_table(tables / "firefox_models.tsv")
        }

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Start the processes. Raises UserError where a file is missing."""
        model_files(model)
        if settings.device == "cuda":
            raise UserError("the firefox engine runs on CPUs only; set translation.device to auto or cpu")
        self._model = model
        self._pool = ProcessPoolExecutor(settings.workers, get_context("spawn"), _start, (model, os.getpid()))
        self._probe = self._pool.submit(_translate, [_WORD])

    def check(self) -> None:
        """Raise UserError where the model cannot be loaded, or has nothing to say to a word."""
        try:
            if self._probe.result(_PATIENCE)[0]:
                return
        except BaseException as error:  # Rust's panics are no Exceptions
            if isinstance(error, KeyboardInterrupt):
                raise
        self._pool.shutdown(wait=False, cancel_futures=True)
        raise UserError(f"{self._model}: the model cannot be run: its files are damaged; fetch it again")

    def measure(self, text: str) -> int:
        """The length of a segment in bytes."""
        return byte_length(text)

    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield translations, the longest segments first, so that no worker is left alone with one at the end.

        Raises UserError where the model is damaged.
        """
        self.check()
        order = sorted(range(len(segments)), key=lambda i: len(segments[i]), reverse=True)
        batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        progress = Progress("translate", sum(len(segment.split()) for segment in segments), "words")
        results = self._pool.map(_translate, ([segments[i] for i in batch] for batch in batches))
        for batch, texts in zip(batches, results, strict=True):
            yield from zip(batch, map(Output, texts), strict=True)
            progress.advance(sum(len(segments[i].split()) for i in batch))
        progress.finish()

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
    # What its Rust code says of a damaged model is of no use to anyone, and is said for each segment.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    _translator = Translator(*(path.read_bytes() for path in model_files(folder)))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _translate(segments: list[str]) -> list[str]:
    return [_translator.translate(segment).strip() for segment in segments]


ENGINE = Firefox
