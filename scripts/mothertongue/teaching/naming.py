"""A teacher as the messages name it that it wrote."""

from mothertongue.endpoints.description import KIND
from mothertongue.formats.messages import TEACHER


def name_of(model: str) -> str:
    """Return a model's name from its identity, with the revision where it was fetched."""
    return model.removesuffix(f"@{KIND}")


def identity(model: str) -> str:
    """Return what messages have for a model that answered, from its identity: it may have translated others."""
    return f"{name_of(model)}@{TEACHER}"
