"""OPUS-MT: a small model for each pair of languages (Helsinki-NLP, Apache-2.0 or CC-BY-4.0), run by CTranslate2.

Tiedemann and Thottingal, "OPUS-MT - Building open translation services for the World", 2020.
"""

from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.common.tsv import Tables, read_table
from mothertongue.translation.engines.base import LanguagePair, LanguagePairs
from mothertongue.translation.engines.ctranslate2 import END, EncoderDecoder


class OpusMT(EncoderDecoder):
    """A Marian model; with several target languages, a token before the text (`>>por<<`) selects one."""

    MODEL_MB = 400
    MODEL_TYPE = "marian"
    TOKENIZER_FILES = ("source.spm", "target.spm")

    @classmethod
    def pairs(cls, tables: Tables, model: str | None) -> LanguagePairs:
        """Return the pairs of opus_mt.tsv."""
        return {
            (row["source"], row["target"]): LanguagePair(row["model"], "", row["target_token"], row["licence"])
            for row in read_table(tables("opus_mt.tsv"))
        }

    def source_tokens(self, pieces: list[str]) -> list[str]:
        """Return the target token where there is one, the text and the end token."""
        code = self.settings.target_code
        return [code, *pieces, END] if code else [*pieces, END]

    def target_prefix(self) -> list[str]:
        """Return no tokens: the encoder reads the target language."""
        return []

    def check_languages(self, model: Path, vocabulary: set[str]) -> None:
        """Raise UserError where the target token is unknown, or missing for a model with several target languages."""
        known = sorted(token for token in vocabulary if token.startswith(">>") and token.endswith("<<"))
        code = self.settings.target_code
        if (code and code not in known) or (not code and len(known) > 1):
            problem = f"does not know the target token {code}" if code else "needs a target token"
            names = f"one of: {' '.join(known)}" if known else "none: the model has a single target language"
            raise UserError(f"{model.name} {problem}; give its pair in translation.models target_token, {names}")


ENGINE = OpusMT
