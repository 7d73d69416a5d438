"""Translation models run by transformers' generate: the base class of engines without CTranslate2."""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from mothertongue.common.errors import UserError
from mothertongue.common.memory import out_of_memory
from mothertongue.common.progress import Progress, log
from mothertongue.model_folders.reading import check, loading, skeleton
from mothertongue.translation.engines.base import AVOIDS_REPETITION, Engine, Output, with_source
from mothertongue.translation.settings import EngineSettings

# The longest output in tokens is _EXPANSION * (source tokens) + _SLACK; longer outputs are loops.
_EXPANSION, _SLACK = 2, 30
# The decoding that avoids repetition: the penalty of repeated tokens, and the length of n-grams that may not recur.
_PENALTY, _NO_REPEAT = 1.2, 4
# The tokens of a batch where the settings leave them to the engine.
_BATCH = 8192
_DTYPES = ("float32", "float16", "bfloat16")


class Generation(Engine):
    """A model and its tokenizer loaded by transformers on one device; outputs have scores only in greedy search."""

    ROUTE = "multilingual"
    FETCH = "transformers"
    PACKAGES = ("torch", "transformers", "tokenizers")
    ENVIRONMENT = "generation"
    RETRIES = AVOIDS_REPETITION
    limit = 250
    # transformers' class for the model, and the padding side of batches.
    LOADER: ClassVar[str]
    PADDING: ClassVar[str] = "right"
    # The number of tokens with which a separate decoder begins; 0 for decoder-only models.
    GIVEN: ClassVar[int] = 0

    @classmethod
    def check_architecture(cls, name: str, config: dict[str, Any]) -> None:
        """Raise UserError where a model's config.json has another architecture."""

    def reading(self, source_code: str) -> Engine | None:
        """Return the same loaded model for another source language."""
        return with_source(self, source_code)

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Load the model. Raise UserError where it is damaged or does not support the languages."""
        import torch
        import transformers

        from mothertongue.models import causal_lm, tokenizer_files

        if not (model / "config.json").is_file():
            raise UserError(f"{model}: no model in it; make it with scripts/fetch_translation_model.py")
        self.check_architecture(str(model), check(model))
        transformers.utils.logging.set_verbosity_error()  # it logs tables of weights
        self.settings = settings
        self.batch_tokens = _BATCH if settings.batch_tokens == "auto" else settings.batch_tokens
        self.folder = model
        device = causal_lm.device() if settings.device == "auto" else settings.device
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("translation.device is cuda, and there is no CUDA device; set it to cpu or auto")
        if settings.compute_type not in ("auto", *_DTYPES):
            raise UserError(f"translation.compute_type {settings.compute_type}: this engine has {', '.join(_DTYPES)}")
        torch.set_num_threads(settings.workers)
        dtype = causal_lm.compute_dtype() if settings.compute_type == "auto" else getattr(torch, settings.compute_type)
        skeleton(model, self.LOADER, "model of this engine")
        loader = getattr(transformers, self.LOADER)
        with loading(model, "transformers cannot load it"):
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            self.model, report = loader.from_pretrained(
                model, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        # transformers initialises missing weights at random and only warns.
        if lacking := sorted(report["missing_keys"]):
            raise UserError(f"{model}: weights are missing ({len(lacking)}, such as {lacking[0]})")
        self.model.to(device).eval()
        self.tokenizer.padding_side = self.PADDING
        self._rows = self.model.get_input_embeddings().weight.shape[0]
        tokenizer_files.set_padding(self.tokenizer, self._rows, model)

    @classmethod
    def machine(cls, settings: EngineSettings) -> str:
        """Return the configured device, by default cuda where there is one, and the type of `auto`."""
        from mothertongue.models import causal_lm

        device = causal_lm.device() if settings.device == "auto" else settings.device
        return f"{device} {causal_lm.compute_dtype()}"

    @abstractmethod
    def encode(self, segment: str) -> list[int]:
        """Return the model's input tokens for a segment, including languages and prompt.

        Raise ControlText where the segment would become control tokens.
        """

    def generation(self) -> dict[str, Any]:
        """Return further arguments of generate besides the batch and the decoding."""
        return {}

    def decode(self, tokens: list[int]) -> str:
        """Return the text of generated tokens."""
        # decode returns one text here; its annotation also allows a batch's list.
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)  # type: ignore[assignment]
        return text.strip()

    def close(self) -> None:
        """Release the model's memory."""
        del self.model

    def measure(self, text: str) -> int:
        """Return the length of a segment in tokens."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield translations, the longest first; where memory runs out, halve the batch.

        A segment that would become control tokens has an empty translation.
        """
        tokens = [self._as_text(segment) for segment in segments]
        progress = Progress("translate again" if careful else "translate", sum(map(len, tokens)), "tokens")
        yield from ((number, Output("")) for number, found in enumerate(tokens) if not found)
        readable = [number for number in range(len(segments)) if tokens[number]]
        waiting = sorted(readable, key=lambda number: len(tokens[number]), reverse=True)
        while waiting:
            # The first segment is the longest, and the batch is padded to it.
            batch = waiting[: max(1, self.batch_tokens // len(tokens[waiting[0]]))]
            try:
                found = list(self._generate([tokens[number] for number in batch], careful))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or len(batch) == 1:
                    raise
                self.batch_tokens = len(batch) * len(tokens[batch[0]]) // 2
                log(f"translate: warning: out of memory; going on with batches of {self.batch_tokens:,} tokens")
                continue
            yield from zip(batch, found, strict=True)
            progress.advance(sum(len(tokens[number]) for number in batch))
            waiting = waiting[len(batch) :]
        progress.finish()

    def _as_text(self, segment: str) -> list[int]:
        """Return the tokens of a segment; none where it would become control tokens."""
        from mothertongue.prompts.templates import ControlText

        try:
            return self.encode(segment)
        except ControlText:
            return []

    def _generate(self, tokens: list[list[int]], careful: bool) -> Iterator[Output]:
        import torch

        batch = self.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(self.model.device)
        width = batch["input_ids"].shape[1]
        longest = [_EXPANSION * min(len(row), self.limit) + _SLACK for row in tokens]
        first = self.GIVEN or width
        scores = _GreedyScores()
        with torch.inference_mode():
            sequences = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=False,
                num_beams=self.settings.beam_size,
                max_new_tokens=max(longest),
                pad_token_id=self.tokenizer.pad_token_id,
                logits_processor=[*(_no_repetition(first) if careful else []), scores],
                **self.generation(),
            )
        ends = self._ends()
        for row, sequence in enumerate(sequences[:, first:].tolist()):
            # Truncate at the row's own limit: generate goes to the longest of the batch.
            written = sequence[: longest[row]]
            length = next((at for at, token in enumerate(written) if token in ends), None)
            count = len(written) if length is None else length + 1
            score = scores.mean(row, count) if self.settings.beam_size == 1 else None
            yield Output(self.decode(written[:length]), score, complete=length is not None)

    def _ends(self) -> set[int]:
        """Return the tokens that end a text: chat models end their turn with another than the tokenizer's own."""
        configured = self.model.generation_config.eos_token_id
        configured = configured if isinstance(configured, list) else [configured]
        return {*configured, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id} - {None}


def _no_repetition(first: int) -> list[Any]:
    """Return logits processors against repetition after the first `first` tokens: words of the prompt may recur."""
    from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

    def behind(processor: Any) -> Any:
        return lambda input_ids, scores: processor(input_ids[:, first:], scores)

    return [behind(RepetitionPenaltyLogitsProcessor(_PENALTY)), behind(NoRepeatNGramLogitsProcessor(_NO_REPEAT))]


class _GreedyScores:
    """A logits processor that records the log-probability of each step's likeliest token, greedy search's choice."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.steps.append((scores.max(-1).values - scores.float().logsumexp(-1)).cpu())
        return scores

    def mean(self, row: int, count: int) -> float:
        """Return the mean log-probability of the first `count` tokens of a row."""
        return sum(float(step[row]) for step in self.steps[:count]) / count
