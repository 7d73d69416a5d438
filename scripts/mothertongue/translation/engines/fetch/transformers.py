"""Fetch models in safetensors, which transformers runs without conversion."""

from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.model_folders.reading import check
from mothertongue.models import fetching
from mothertongue.models.references import Reference
from mothertongue.translation.engines.transformers import Generation


def fetch(engine: type[Generation], reference: Reference, folder: Path) -> None:
    """Fetch a model. Raise UserError where it has no weights in safetensors or another architecture."""
    fetching.fetch(reference, folder)
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"'{reference.text}': no weights in safetensors; other formats are not loaded")
    with fetching.naming(reference, folder):
        config = check(folder)
    engine.check_architecture(reference.text, config)
