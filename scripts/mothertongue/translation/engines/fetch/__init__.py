"""Fetching translation models for their engines: a module for each way, which an engine names in FETCH."""

from importlib import import_module
from pathlib import Path

from mothertongue.models.references import Reference
from mothertongue.translation import engines


def fetch_model(name: str, reference: Reference, folder: Path) -> None:
    """Fetch a model into `folder`, ready to be loaded by the engine of that name.

    Raises UserError where the engine is unknown, the model cannot be fetched, or it is not one of this engine's.
    """
    engine = engines.find(name)
    import_module(f"{__name__}.{engine.FETCH}").fetch(engine, reference, folder)
