"""Engines with one encoder-decoder model for all language pairs, selected by language tokens."""

from pathlib import Path
from typing import ClassVar

from mothertongue.common.errors import UserError
from mothertongue.common.tsv import Tables, language_codes
from mothertongue.translation.engines.base import Engine, LanguagePairs, every_pair, with_source
from mothertongue.translation.engines.ctranslate2 import END, EncoderDecoder


class Multilingual(EncoderDecoder):
    """A multilingual model: the source language's token starts the encoder's input, the target's the decoder's."""

    ROUTE = "multilingual"
    MODEL: ClassVar[str]
    # The model's column in language_codes.tsv.
    NAME: ClassVar[str]
    # The format of the model's token for a code.
    TOKEN: ClassVar[str] = "{}"
    NAMES_SOURCE: ClassVar[bool] = True

    @classmethod
    def pairs(cls, tables: Tables, model: str | None) -> LanguagePairs:
        """Return every pair of the model's languages."""
        reference = model or cls.MODEL
        names = language_codes(tables("language_codes.tsv"), cls.NAME)
        tokens = {code: cls.TOKEN.format(name) for code, name in names.items()}
        return every_pair(tokens, reference, cls.licence(reference), cls.NAMES_SOURCE)

    def check_languages(self, model: Path, vocabulary: set[str]) -> None:
        """Raise UserError where the model has no token for one of the languages."""
        codes = [self.settings.target_code]
        if self.NAMES_SOURCE:
            codes.append(self.settings.source_code)
        for code in codes:
            if code not in vocabulary:
                raise UserError(f"{model.name} has no language token '{code}'; choose another model or engine")
        self._vocabulary = vocabulary

    def reading(self, source_code: str) -> Engine | None:
        """Return the same model for another source language; None where it has no token for it."""
        if self.NAMES_SOURCE and source_code not in self._vocabulary:
            return None
        return with_source(self, source_code)

    def source_tokens(self, pieces: list[str]) -> list[str]:
        """Return the source language's token, the text and the end token."""
        return [self.settings.source_code, *pieces, END]

    def target_prefix(self) -> list[str]:
        """Return the target language's token."""
        return [self.settings.target_code]
