"""MADLAD-400: one model for 400 languages (Google, Apache-2.0), run by CTranslate2.

Kudugunta et al., "MADLAD-400: A Multilingual And Document-Level Large Audited Dataset", 2023 (arXiv:2309.04662).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mothertongue.translation.engines.base import Output
from mothertongue.translation.engines.ctranslate2 import END
from mothertongue.translation.engines.multilingual import Multilingual

# Sources disagree about the model's code for Hebrew.
_OLDER = {"<2he>": "<2iw>"}
_TOKEN = re.compile(r"<2(?=\w+>)")


class Madlad400(Multilingual):
    """MADLAD-400 on T5's architecture: a token before the text (<2nl>) sets the target; the source has none."""

    NAME = "madlad400"
    MODEL = "google/madlad400-3b-mt"
    FAMILY = "google/madlad400"
    LICENCE = "apache-2.0"
    MODEL_MB = 12000
    MODEL_TYPE = "t5"
    TOKENIZER_FILES = ("spiece.model", "sentencepiece.model")
    NAMES_SOURCE = False

    def check_languages(self, model: Path, vocabulary: set[str]) -> None:
        """Raise UserError where the model has no token for the target language; accept its older code."""
        older = _OLDER.get(self.settings.target_code)
        if self.settings.target_code not in vocabulary and older in vocabulary:
            self.settings = replace(self.settings, target_code=older)
        super().check_languages(model, vocabulary)

    def source_tokens(self, pieces: list[str]) -> list[str]:
        """Return the target language's token as SentencePiece encodes it, the text and the end token."""
        return [*self._source.encode(self.settings.target_code, out_type=str), *pieces, END]

    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield translations; break up text that would become a language token."""
        return super().translate([_TOKEN.sub("< 2", segment) for segment in segments], careful)

    def target_prefix(self) -> list[str]:
        """Return no tokens: the encoder reads the target language."""
        return []


ENGINE = Madlad400
