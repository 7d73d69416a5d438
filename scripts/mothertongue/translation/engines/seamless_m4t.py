"""SeamlessM4T v2, text to text: one model for 96 languages (Meta, non-commercial), run by transformers.

Seamless Communication, "Seamless: Multilingual Expressive and Streaming Speech Translation", 2023 (arXiv:2312.05187).
"""

from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.tsv import Tables, language_codes
from mothertongue.translation.engines.base import Engine, LanguagePairs, every_pair
from mothertongue.translation.engines.transformers import Generation
from mothertongue.translation.settings import EngineSettings


class SeamlessM4T(Generation):
    """SeamlessM4T v2; loads only the text encoder and decoder, not the speech modules."""

    MODEL = "facebook/seamless-m4t-v2-large"
    FAMILY = "facebook/seamless-m4t"
    LICENCE = UNMARKED_LICENCE = "cc-by-nc-4.0"
    MODEL_MB = 9500
    LOADER = "SeamlessM4Tv2ForTextToText"
    GIVEN = 2  # the start token and the target language's

    @classmethod
    def pairs(cls, tables: Tables, model: str | None) -> LanguagePairs:
        """Return every pair of the model's languages."""
        reference = model or cls.MODEL
        return every_pair(
            language_codes(tables("language_codes.tsv"), "seamless-m4t"), reference, cls.licence(reference)
        )

    @classmethod
    def check_architecture(cls, name: str, config: dict[str, Any]) -> None:
        """Raise UserError where the model is not a SeamlessM4T v2."""
        if (found := config.get("model_type")) != "seamless_m4t_v2":
            raise UserError(f"'{name}' is a '{found}', and this engine runs 'seamless_m4t_v2' models; choose another")

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Load the model. Raise UserError where it is damaged or does not support the languages."""
        super().__init__(model, settings)
        known = getattr(self.model.generation_config, "text_decoder_lang_to_code_id", {})
        if not isinstance(known, dict):
            raise UserError(
                f"{model / 'generation_config.json'}: text_decoder_lang_to_code_id is not a JSON object; damaged"
            )
        for code in (settings.source_code, settings.target_code):
            if code not in known:
                raise UserError(f"{model.name} does not know the language '{code}'; it knows {', '.join(known)}")
        self._known = frozenset(known)

    def reading(self, source_code: str) -> Engine | None:
        """Return the same model for another source language; None where it does not know it."""
        return super().reading(source_code) if source_code in self._known else None

    def encode(self, segment: str) -> list[int]:
        """Return the source language's token, the text and the end token."""
        from mothertongue.prompts import templates

        if self.tokenizer.src_lang != self.settings.source_code:
            self.tokenizer.src_lang = self.settings.source_code
        return templates.encode_text(segment, self.tokenizer)

    def generation(self) -> dict[str, Any]:
        """Return the target language as an argument of generate."""
        return {"tgt_lang": self.settings.target_code}


ENGINE = SeamlessM4T
