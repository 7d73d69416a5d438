"""Endpoints fetch no model: what is asked for one says so."""

from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.models.references import Reference


def fetch(engine: type, reference: Reference, folder: Path) -> None:
    """Raise UserError."""
    raise UserError("the endpoint engine fetches no model; scripts/describe_endpoint.py writes the record of one")
