"""LaBSE: a sentence encoder of 109 languages, from the hub, run by transformers on the GPU of the job or on the CPU.

Feng et al., "Language-agnostic BERT Sentence Embedding", 2022 (arXiv:2007.01852).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.model_folders.reading import check, loading, skeleton
from mothertongue.translation.estimators.base import Estimator

# Pairs whose vectors are in memory at once, texts encoded at once, and the most tokens that are read of each.
_PAIRS, _BATCH, _TOKENS = 1000, 64, 256
# Lists the modules of a sentence-transformers model, whose pooling is not in the model itself.
_MODULES = "modules.json"

# Those of the paper's appendix, in our codes.
_LANGUAGES = """
    af am ar as az be bg bn bo bs ca ceb co cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha haw he hi hmn hr ht
    hu hy id ig is it ja jv ka kk km kn ko ku ky la lb lo lt lv mg mi mk ml mn mr ms mt my nb ne nl no ny or pa pl pt ro
    ru rw si sk sl sm sn so sq sr st su sv sw ta te tg th tk tl tr tt ug uk ur uz vi wo xh yi yo zh zh-Hant zu
"""


def check_pooling(folder: Path) -> None:
    """Raise UserError for a sentence-transformers model: its pooling is not in the model itself."""
    if (folder / _MODULES).is_file():
        raise UserError(
            f"{folder}: a sentence-transformers model, whose pooling lies beside it; name a plain BERT model with "
            "trained pooling, such as setu4993/LaBSE"
        )


class LaBSE(Estimator):
    """The cosine of the pooled vectors of source and translation; any BERT model with trained pooling will do."""

    LANGUAGES = frozenset(_LANGUAGES.split())
    THRESHOLD = None
    MODEL = "setu4993/LaBSE"
    ENVIRONMENT = "generation"
    MEMORY_MB = 4000

    def __init__(self, workers: int, model: Path | None = None, device: str = "auto") -> None:
        """Load the model of a folder. Raise UserError where it is missing, damaged, or has no pooled vectors."""
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        if model is None:
            raise UserError("labse needs the folder of its model, which scripts/fetch_estimator.py writes; name it")
        check_pooling(model)
        check(model)
        skeleton(model, "AutoModel", "sentence encoder")
        logging.set_verbosity_error()
        torch.set_num_threads(workers)
        self._device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self._batch, self._folder = _BATCH, model
        with loading(model, "transformers cannot load it"):
            self._tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            # transformers' annotations omit the second value that output_loading_info adds.
            loaded: tuple[Any, dict[str, Any]] = AutoModel.from_pretrained(  # type: ignore[assignment]
                model, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        encoder, report = loaded
        # transformers initialises missing weights at random and only warns.
        if lacking := sorted(report["missing_keys"]):
            raise UserError(f"{model}: weights are missing ({len(lacking)}, such as {lacking[0]})")
        if getattr(encoder, "pooler", None) is None:
            raise UserError(
                f"{model}: a '{encoder.config.model_type}' without pooled vectors; labse needs a BERT model"
            )
        self._model = encoder.to(self._device).eval()
        self._tokens = min(_TOKENS, encoder.config.max_position_embeddings)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the cosines, from -1 to 1; encode equal texts once, texts of similar length together."""
        found: list[float] = []
        for start in range(0, len(pairs), _PAIRS):
            some = pairs[start : start + _PAIRS]
            texts = sorted({text for pair in some for text in pair}, key=lambda text: (len(text), text))
            place = {text: number for number, text in enumerate(texts)}
            vectors = self._vectors(texts)
            found += [float(vectors[place[source]] @ vectors[place[translation]]) for source, translation in some]
        return found

    def _vectors(self, texts: Sequence[str]) -> Any:
        """Return the vectors of length 1 (texts, width); where memory runs out, halve the batch.

        Raise UserError where a vector is not finite.
        """
        import torch

        parts: list[Any] = []
        done = 0
        while done < len(texts):
            some = texts[done : done + self._batch]
            try:
                parts.append(torch.nn.functional.normalize(self._pooled(some)).cpu())
            except torch.OutOfMemoryError:
                if self._batch == 1:
                    raise
                self._batch //= 2
                torch.cuda.empty_cache()
                continue
            done += len(some)
        vectors = torch.cat(parts)
        if not vectors.isfinite().all():
            raise UserError(f"{self._folder}: gives vectors that are not numbers; its weights are damaged")
        return vectors

    def _pooled(self, texts: Sequence[str]) -> Any:
        """Return the model's pooled vectors; text never becomes a control token."""
        import torch

        batch = self._tokenizer(
            [text.encode("utf-8", "replace").decode() for text in texts],
            padding=True,
            truncation=True,
            max_length=self._tokens,
            return_tensors="pt",
            split_special_tokens=True,
        ).to(self._device)
        with torch.inference_mode():
            return self._model(**batch).pooler_output.float()


ESTIMATOR = LaBSE
