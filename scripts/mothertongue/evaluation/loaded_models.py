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


def load(adapter: Path, sft_adapter: Path | None, base_model: Path | None, quantization: str) -> Evaluated:
    """Load an adapter on its base model, and the SFT adapter that it continues where there is one.

    `quantization` auto uses the base model's quantisation during training.
    """
    base = causal_lm.base_of(adapter, base_model)
    if quantization == "auto":
        quantization = read_training(adapter, "settings.quantization")["settings"]["quantization"]
    tokenizer, template = tokenizer_files.load_with_template(adapter, embedding_rows(base))
    model = causal_lm.with_adapter(causal_lm.load_base(base, quantization), adapter)
    if sft_adapter:
        causal_lm.add_adapter(model, sft_adapter, "sft")
    models = ("base", "sft", "adapter") if sft_adapter else ("base", "adapter")
    return Evaluated(model.eval(), models, tokenizer, template, quantization)


def computed_in(evaluated: Evaluated) -> dict[str, str]:
    """Return the quantisation, data type and device of the models."""
    dtype = str(causal_lm.compute_dtype()).removeprefix("torch.")
    return {"quantization": evaluated.quantization, "dtype": dtype, "device": causal_lm.device()}
