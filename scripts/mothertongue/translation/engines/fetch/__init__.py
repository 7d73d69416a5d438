"""Fetch translation models for their engines: one module per method, which an engine selects by FETCH."""

from importlib import import_module
from pathlib import Path

from mothertongue.models.references import Reference
from mothertongue.translation import engines


def fetch_model(name: str, reference: Reference, folder: Path) -> None:
    """Fetch a model into `folder`, in the format that the engine `name` loads.

    Raise UserError where the engine is unknown, the model cannot be fetched, or it is not a model of this engine.
    """
    engine = engines.find(name)
    import_module(f"{__name__}.{engine.FETCH}").fetch(engine, reference, folder)
