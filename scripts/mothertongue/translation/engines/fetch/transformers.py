"""Fetch models in safetensors, which transformers runs without conversion."""

from pathlib import Path

from mothertongue.models import fetching
from mothertongue.models.references import Reference
from mothertongue.translation.engines.transformers import Generation


def fetch(engine: type[Generation], reference: Reference, folder: Path) -> None:
    """Fetch a model. Raise UserError where it has no weights in safetensors or another architecture."""
    engine.check_architecture(reference.text, fetching.fetch_safetensors(reference, folder))
