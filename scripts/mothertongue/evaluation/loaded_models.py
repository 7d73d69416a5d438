"""The models that an evaluation compares, loaded once: base model, adapter, and the SFT adapter it continues."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.model_folders.reading import embedding_rows, read_training
from mothertongue.models import causal_lm, tokenizer_files
from mothertongue.prompts.templates import Template


@dataclass(frozen=True)
class Evaluated:
    """The compared models in one instance (see `causal_lm.speaking_as`), with the adapter's tokenizer and template."""

    model: Any
    models: Sequence[str]
    tokenizer: Any
    template: Template
    quantization: str

    @property
    def window(self) -> int | None:
        """The context window in tokens; None where it is unknown."""
        return causal_lm.window(self.model)


@dataclass(frozen=True)
class Compared:
    """What is compared, not loaded yet: an adapter, its base model, and the SFT adapter that it continues, if any."""

    adapter: Path
    sft_adapter: Path | None
    base: Path
    tokenizer: Any
    template: Template

    @classmethod
    def of(cls, adapter: Path, sft_adapter: Path | None, base_model: Path | None) -> "Compared":
        """Read an adapter's tokenizer and template. Raise UserError where its base model is missing."""
        base = causal_lm.base_of(adapter, base_model)
        return cls(adapter, sft_adapter, base, *tokenizer_files.load_with_template(adapter, embedding_rows(base)))

    @property
    def models(self) -> Sequence[str]:
        """The names of the models."""
        return ("base", "sft", "adapter") if self.sft_adapter else ("base", "adapter")

    @property
    def window(self) -> int | None:
        """The context window in tokens; None where it is unknown."""
        return causal_lm.window_of(self.base)

    def load(self, quantization: str) -> Evaluated:
        """Load the models; `quantization` auto uses the base model's quantisation during training."""
        if quantization == "auto":
            quantization = read_training(self.adapter, "settings.quantization")["settings"]["quantization"]
        model = causal_lm.with_adapter(causal_lm.load_base(self.base, quantization), self.adapter)
        if self.sft_adapter:
            causal_lm.add_adapter(model, self.sft_adapter, "sft")
        return Evaluated(model.eval(), self.models, self.tokenizer, self.template, quantization)


def load(adapter: Path, base_model: Path | None, quantization: str) -> Evaluated:
    """Load an adapter on its base model; see `Compared`."""
    return Compared.of(adapter, None, base_model).load(quantization)


def computed_in(evaluated: Evaluated) -> dict[str, str]:
    """Return the quantisation, data type and device of the models."""
    dtype = str(causal_lm.compute_dtype()).removeprefix("torch.")
    return {"quantization": evaluated.quantization, "dtype": dtype, "device": causal_lm.device()}
