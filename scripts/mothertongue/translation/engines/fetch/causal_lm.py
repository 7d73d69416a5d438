"""Fetch chat models that translate: safetensors as they are, GGUF files dequantised."""

from pathlib import Path

from mothertongue.model_folders.reading import read_config
from mothertongue.models import fetch_base
from mothertongue.models.references import Reference
from mothertongue.translation.engines.transformers import Generation


def fetch(engine: type[Generation], reference: Reference, folder: Path) -> None:
    """Fetch a model in safetensors or GGUF. Raise UserError where it has neither or another architecture."""
    fetch_base.fetch(reference, folder)
    engine.check_architecture(reference.text, read_config(folder))
