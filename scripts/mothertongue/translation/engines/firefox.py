"""Mozilla's Firefox Translations models (MPL-2.0): small distilled models, run by fxtranslate on CPUs only."""

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
from mothertongue.common.tsv import Tables, read_table
from mothertongue.translation.engines.base import AVOIDS_REPETITION, Engine, LanguagePair, LanguagePairs, Output
from mothertongue.translation.settings import EngineSettings
from mothertongue.translation.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fxtranslate import Translator

# Segments per task: few enough to keep all workers busy to the end, enough to hide the overhead of a task.
_BATCH = 64
# The mark of a list's item, which models keep.
_ITEM = "- "
# A word that every model translates, and the time limit in seconds for a process to start and translate it.
_WORD, _PATIENCE = "Hello", 60

# The translator of a worker process: see _start.
_translator: "Translator"


class Firefox(Engine):
    """A pool of processes with one translator each: a Translator is bound to the thread that created it."""

    FETCH = "firefox"
    PACKAGES = ("fxtranslate", "sentencepiece")
    MODEL_MB = 60
    ON_GPU = False
    RETRIES = AVOIDS_REPETITION | {"length ratio", "quotes"}
    # Models silently truncate longer segments; in bytes, since fxtranslate does not expose its tokens.
    limit = 480

    @classmethod
    def pairs(cls, tables: Tables, model: str | None) -> LanguagePairs:
        """Return the released pairs of firefox_models.tsv, with Mozilla's codes."""
        return {
            (row["source"], row["target"]): LanguagePair(f"firefox:{row['model']}", licence="mpl-2.0")
            for row in read_table(tables("firefox_models.tsv"))
        }

    @classmethod
    def machine(cls, settings: EngineSettings) -> str:
        """Return cpu: its integers are the same on every one."""
        return "cpu"

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Start the processes. Raise UserError where a file is missing or the device is cuda."""
        self._characters = _characters(model)
        if settings.device == "cuda":
            raise UserError("the firefox engine runs on CPUs only; set translation.device to auto or cpu")
        self._model = model
        self._pool = ProcessPoolExecutor(settings.workers, get_context("spawn"), _start, (model, os.getpid()))
        self._probe = self._pool.submit(_translate, [_WORD])

    def check(self) -> None:
        """Raise UserError where the model cannot be loaded, or does not translate a test word."""
        try:
            if self._probe.result(_PATIENCE)[0]:
                return
        except BaseException as error:  # Rust's panics do not derive from Exception
            if isinstance(error, KeyboardInterrupt):
                raise
        self._pool.shutdown(wait=False, cancel_futures=True)
        raise _damaged(self._model)

    def measure(self, text: str) -> int:
        """Return the length of a segment in bytes."""
        return byte_length(text)

    def reads(self, text: str) -> bool:
        """Return whether every character is in the source vocabulary."""
        return self._characters.covers(text)

    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield translations, the longest segments first, so that the workers finish at about the same time.

        `careful` translates them as items of a list: the models know these as short texts without context, and make
        no "Rio de Janeiro" of "Kansas". Raise UserError where the model is damaged.
        """
        self.check()
        order = sorted(range(len(segments)), key=lambda i: len(segments[i]), reverse=True)
        batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        progress = Progress("translate", sum(len(segment.split()) for segment in segments), "words")
        mark = _ITEM if careful else ""
        plain = ([mark + self._characters.plain(segments[i]) for i in batch] for batch in batches)
        results = self._pool.map(_translate, plain)
        for batch, texts in zip(batches, results, strict=True):
            # An item that comes out without its mark is another text.
            found = (text.removeprefix(mark) if text.startswith(mark) else "" for text in texts)
            yield from zip(batch, map(Output, found), strict=True)
            progress.advance(sum(len(segments[i].split()) for i in batch))
        progress.finish()

    def close(self) -> None:
        """Terminate the processes."""
        self._pool.shutdown(cancel_futures=True)


def model_files(folder: Path) -> list[Path]:
    """Return the files of a model folder: model, source and target vocabulary, and the lexical shortlist if present.

    Raise UserError where one is missing.
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


def _characters(folder: Path) -> Vocabulary:
    """Return the characters of a model's source vocabulary. Raise UserError where its file is missing or damaged."""
    from sentencepiece import SentencePieceProcessor

    try:
        pieces = SentencePieceProcessor(str(model_files(folder)[1]))
    except (OSError, RuntimeError, TypeError):
        raise _damaged(folder) from None
    unknown = pieces.unk_id()
    return Vocabulary(lambda text: unknown not in pieces.encode(text))


def _damaged(folder: Path) -> UserError:
    return UserError(f"{folder}: the model cannot be run: its files are damaged; fetch it again")


def _start(folder: Path, parent: int) -> None:
    """Create this worker's translator, and exit the worker when its parent has died for any reason."""
    from fxtranslate import Translator

    global _translator
    # Its Rust code logs useless messages on a damaged model, one for each segment.
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
