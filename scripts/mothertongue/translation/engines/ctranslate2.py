"""Encoder-decoder translation models run by CTranslate2: the base class of several engines.

Translation needs only ctranslate2 and sentencepiece; transformers is needed only for the conversion.
"""

import importlib.util
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mothertongue.common.atomic_files import read_json, read_object
from mothertongue.common.errors import UserError
from mothertongue.common.memory import out_of_memory
from mothertongue.common.progress import Progress, log
from mothertongue.model_folders.reading import check_config, loading
from mothertongue.translation.engines.base import AVOIDS_REPETITION, Engine, Output
from mothertongue.translation.settings import EngineSettings
from mothertongue.translation.vocabulary import Vocabulary

END = "</s>"
# Tokens a batch, of a CPU's thread and of a GPU: docs/performance.md has the measurements. A small model's numbers stay
# in the processor's cache; each step of a large one, of more bytes, reads its weights from memory for the whole batch.
_ON_CPU, _ON_CPU_LARGE, _ON_GPU = 512, 2048, 65_536
_LARGE = 50_000_000
# Batches per worker in a window, which CTranslate2 gets in one call. The fewer, the less far loops run past their own
# longest output.
_WINDOW = 2
# Windows that are tokenised ahead of the one whose results are pending.
_AHEAD = 2
# A token of European languages has about four characters; a lower estimate only makes the windows smaller.
_CHARACTERS_A_TOKEN = 3
_SMALLEST_BATCH = 64
# The longest output in tokens is _EXPANSION * (source tokens) + _SLACK; longer outputs are loops.
_EXPANSION, _SLACK = 2, 30
# The decoding that avoids repetition. It fixed 85 of 93 sentences in which a weak model looped; a beam of four fixed
# 87, but took three times as long.
_CAREFUL = {"repetition_penalty": 1.2, "no_repeat_ngram_size": 4}


@dataclass
class _Window:
    """Segments submitted to CTranslate2: their numbers and tokens, the batch size, the longest output of each."""

    numbers: list[int]
    tokens: list[list[str]]
    batch_tokens: int = 0
    longest: list[int] = field(default_factory=list)
    futures: list[Any] = field(default_factory=list)


class EncoderDecoder(Engine):
    """A model in CTranslate2's format with its SentencePiece vocabulary."""

    FETCH = "ctranslate2"
    PACKAGES = ("ctranslate2", "sentencepiece")
    RETRIES = AVOIDS_REPETITION
    # The model_type of config.json, and the names of the SentencePiece files: one, or source and target.
    MODEL_TYPE: ClassVar[str]
    TOKENIZER_FILES: ClassVar[tuple[str, ...]] = ("sentencepiece.bpe.model",)
    # Longer sentences are rare in training data, and models translate them badly.
    limit = 250

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Load the model on its device. Raise UserError where it is damaged or does not support the languages."""
        from sentencepiece import SentencePieceProcessor

        files = [model / name for name in self.TOKENIZER_FILES if (model / name).is_file()]
        if not files or not (model / "model.bin").is_file():
            raise UserError(f"{model}: no converted model in it; make it with scripts/fetch_translation_model.py")
        self.settings = settings
        self._positions = _positions(model)
        try:
            self._source = SentencePieceProcessor(str(files[0]))
            self._target = SentencePieceProcessor(str(files[-1])) if len(files) > 1 else self._source
        except (OSError, RuntimeError, TypeError):
            raise UserError(f"{model}: its SentencePiece files are damaged; fetch the model again") from None
        vocabulary = _vocabulary(model)
        self.check_languages(model, vocabulary)
        self._characters = Vocabulary(lambda text: vocabulary.issuperset(self._source.encode(text, out_type=str)))
        # Models may generate control tokens such as language codes; emoji that SentencePiece lacks are text.
        unknown = vocabulary - _pieces(self._source) - _pieces(self._target)
        self._control = {token for token in unknown if token.isascii()}
        self._translator = _load(model, settings)
        self._workers = self._translator.num_translators
        on_cpu = _ON_CPU_LARGE if (model / "model.bin").stat().st_size > _LARGE else _ON_CPU
        by_device = self._workers * (on_cpu if self._translator.device == "cpu" else _ON_GPU)
        self.batch_tokens = by_device if settings.batch_tokens == "auto" else settings.batch_tokens

    @classmethod
    def machine(cls, settings: EngineSettings) -> str:
        """Return the kind of device, cuda where there is one and the settings allow it, and its compute types."""
        import ctranslate2

        device = "cuda" if settings.device != "cpu" and ctranslate2.get_cuda_device_count() else "cpu"
        return " ".join([device, *sorted(ctranslate2.get_supported_compute_types(device))])

    @abstractmethod
    def source_tokens(self, pieces: list[str]) -> list[str]:
        """Return the encoder's input tokens for a segment in SentencePiece pieces."""

    @abstractmethod
    def target_prefix(self) -> list[str]:
        """Return the decoder's forced first tokens."""

    @abstractmethod
    def check_languages(self, model: Path, vocabulary: set[str]) -> None:
        """Raise UserError where the model has no token for one of the languages."""

    def measure(self, text: str) -> int:
        """Return the length of a segment in SentencePiece pieces."""
        return len(self._source.encode(text))

    def reads(self, text: str) -> bool:
        """Return whether the pieces of every character are in the vocabulary."""
        return self._characters.covers(text)

    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield translations, the longest first; tokenise by windows, so that memory does not grow with the shard."""
        progress = Progress("translate again" if careful else "translate", sum(map(len, segments)), "characters")
        for window in self._run(segments, careful):
            yield from zip(window.numbers, self._results(window, careful), strict=True)
            progress.advance(sum(len(segments[number]) for number in window.numbers))
        progress.finish()

    def close(self) -> None:
        """Release the model's memory."""
        self._translator.unload_model()

    def _run(self, segments: list[str], careful: bool) -> Iterator[_Window]:
        """Yield the windows in order; tokenise the next while CTranslate2 works on the first."""
        ahead: deque[_Window] = deque()
        for numbers in self._windows(segments):
            pieces = self._source.encode([self._characters.plain(segments[number]) for number in numbers], out_type=str)
            window = _Window(numbers, [self.source_tokens(piece) for piece in pieces])
            self._submit(window, careful)
            ahead.append(window)
            if len(ahead) > _AHEAD:
                yield ahead.popleft()
        yield from ahead

    def _windows(self, segments: list[str]) -> Iterator[list[int]]:
        """Yield the numbers of the segments in windows of about equal work, the longest segments first."""
        order = sorted(range(len(segments)), key=lambda number: len(segments[number]), reverse=True)
        room = _WINDOW * self.batch_tokens * _CHARACTERS_A_TOKEN
        start = used = 0
        for end, number in enumerate(order, start=1):
            used += len(segments[number])
            if used >= room or end == len(order):
                yield order[start:end]
                start, used = end, 0

    def _submit(self, window: _Window, careful: bool) -> None:
        """Submit a window to CTranslate2, which works on it in the background."""
        decoding: dict[str, Any] = {"beam_size": self.settings.beam_size}
        if careful:
            decoding |= _CAREFUL
        prefix = self.target_prefix()
        window.batch_tokens = self.batch_tokens
        window.longest = [min(self._positions - 1, _EXPANSION * len(tokens) + _SLACK) for tokens in window.tokens]
        window.futures = self._translator.translate_batch(
            window.tokens,
            [prefix] * len(window.tokens) if prefix else None,
            max_batch_size=max(1, self.batch_tokens // self._workers),
            batch_type="tokens",
            asynchronous=True,
            max_input_length=0,  # no truncation: segments are within the limit
            max_decoding_length=max(window.longest),
            return_scores=True,
            disable_unk=True,
            **decoding,
        )

    def _results(self, window: _Window, careful: bool) -> list[Output]:
        """Return the outputs of a window; where memory runs out, halve the batch and submit the window again."""
        while True:
            try:
                results = zip(window.futures, window.longest, strict=True)
                return [self._output(future.result(), longest) for future, longest in results]
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or window.batch_tokens <= _SMALLEST_BATCH:
                    raise
                # Windows in flight may fail with the size before it was halved.
                if window.batch_tokens == self.batch_tokens:
                    self.batch_tokens //= 2
                    log(f"translate: warning: out of memory; going on with batches of {self.batch_tokens:,} tokens")
                self._submit(window, careful)

    def _output(self, result: Any, longest: int) -> Output:
        """Return the output of a result, truncated at its own limit: CTranslate2 decodes to the longest of a batch."""
        tokens = result.hypotheses[0]
        given = len(self.target_prefix())
        complete = len(tokens) < longest
        # CTranslate2's mean includes the prefix (log-probability 0) and the end token, which is not in `tokens`.
        # Incomplete outputs have no score: they may have exceeded their own limit beside a longer one.
        scored = len(tokens) + 1
        score = result.scores[0] * scored / (scored - given) if complete else None
        text = self._target.decode([token for token in tokens[given:longest] if token not in self._control])
        # SentencePiece keeps its space symbol in pieces unknown to it: those of the source's vocabulary alone.
        return Output(text.replace("▁", " ").strip(), score, complete)


def _load(model: Path, settings: EngineSettings) -> Any:
    """Return CTranslate2's translator on the CPU or on all visible CUDA devices.

    Raise UserError where the settings require CUDA and there is no device, or the model cannot be loaded.
    """
    import ctranslate2

    cuda = ctranslate2.get_cuda_device_count()
    if settings.device == "cuda" and not cuda:
        raise UserError("translation.device is cuda, and there is no CUDA device; set it to cpu or auto")
    if settings.device == "cpu" or not cuda:
        # One thread per batch: 39% faster than all threads on one batch.
        places: dict[str, Any] = {"device": "cpu", "inter_threads": settings.workers, "intra_threads": 1}
    else:
        _load_cublas()
        places = {"device": "cuda", "device_index": list(range(cuda))}
    with loading(model, "CTranslate2 cannot load it"):
        return ctranslate2.Translator(str(model), compute_type=settings.compute_type, **places)


def _load_cublas() -> None:
    """Load CUDA 12's cuBLAS from its Python package, since CTranslate2 searches only the system's libraries.

    Raise UserError where neither the system nor this environment has it.
    """
    import ctypes

    package = importlib.util.find_spec("nvidia.cublas") if importlib.util.find_spec("nvidia") else None
    places = package.submodule_search_locations if package else None
    folders = [Path(place) / "lib" for place in places or []]
    for name in ("libcublasLt.so.12", "libcublas.so.12"):
        for path in [*(str(folder / name) for folder in folders), name]:
            with suppress(OSError):
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
                break
        else:
            raise UserError(
                f"CTranslate2 needs {name} of CUDA 12 to run on a GPU, and it is not here: install nvidia-cublas-cu12, "
                "or set translation.device to cpu"
            )


def _positions(model: Path) -> int:
    """Return a converted model's number of positions (512 by default). Raise UserError where its config is damaged."""
    path = model / "original_config.json"
    config = read_object(path)
    check_config(config, path)
    return config.get("max_position_embeddings") or 512


def _vocabulary(model: Path) -> set[str]:
    """Return the source and target vocabulary of a converted model. Raise UserError where a file is damaged."""
    found: set[str] = set()
    for path in sorted(model.glob("*_vocabulary.json")):
        tokens = read_json(path)
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise UserError(f"{path}: no list of tokens; it is damaged, fetch the model again")
        found |= set(tokens)
    return found


def _pieces(model: Any) -> set[str]:
    return set(model.id_to_piece(list(range(model.get_piece_size()))))
