"""Chat models prompted to translate, such as TowerInstruct, run by transformers.

Alves et al., "Tower: An Open Multilingual Large Language Model for Translation-Related Tasks", 2024 (arXiv:2402.17733).
"""

from functools import cached_property
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.tsv import Tables, read_table
from mothertongue.translation.engines.base import LanguagePairs, every_pair
from mothertongue.translation.engines.transformers import Generation

_TOWER = {"en", "de", "fr", "es", "zh", "pt", "it", "ru", "ko", "nl"}


class LLM(Generation):
    """A chat model: reads the configuration's prompt in its own chat template and answers with the translation."""

    MODEL = "Unbabel/TowerInstruct-7B-v0.2"
    FAMILY = "Unbabel/Tower"
    LICENCE = "cc-by-nc-4.0"
    MODEL_MB = 14000
    FETCH = "causal_lm"
    LOADER = "AutoModelForCausalLM"
    PADDING = "left"

    @classmethod
    def pairs(cls, tables: Tables, model: str | None) -> LanguagePairs:
        """Return every pair of Tower's languages or, for another model, of all languages of languages.tsv, by name."""
        reference = model or cls.MODEL
        names = {row["code"]: row["name"] for row in read_table(tables("languages.tsv"))}
        if reference.startswith(cls.FAMILY):
            names = {code: name for code, name in names.items() if code in _TOWER}
        return every_pair(names, reference, cls.licence(reference))

    @classmethod
    def check_architecture(cls, name: str, config: dict[str, Any]) -> None:
        """Raise UserError where the model is not a causal language model."""
        if not any(architecture.endswith("ForCausalLM") for architecture in config.get("architectures") or []):
            raise UserError(
                f"'{name}' is a '{config.get('model_type')}', and this engine runs chat models; choose another"
            )

    def encode(self, segment: str) -> list[int]:
        """Return the tokens of the prompt with the segment, in the model's chat template where it has one."""
        from mothertongue.prompts import templates

        names = {"{source}": self.settings.source_code, "{target}": self.settings.target_code}
        question = self.settings.prompt
        for name, value in names.items():
            question = question.replace(name, value)
        question = question.replace("{text}", segment)
        if self._template:
            return templates.encode_prompt(templates.chat("", question), self._template, self.tokenizer)
        return templates.encode_text(question, self.tokenizer)

    @cached_property
    def _template(self) -> Any:
        from mothertongue.prompts import templates

        if not self.tokenizer.chat_template:
            return None
        return templates.with_tokens_of(templates.read_template(self.folder), self.tokenizer)


ENGINE = LLM
