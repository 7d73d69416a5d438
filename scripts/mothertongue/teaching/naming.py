"""A teacher as the messages name it that it wrote."""

from mothertongue.formats.messages import TEACHER


def identity(name: str) -> str:
    """Return what messages have for the model `name`: the same model may have translated others."""
    return f"{name}@{TEACHER}"
