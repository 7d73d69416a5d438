"""The licences of teachers, for cards that are written where the records of these models are."""

from collections.abc import Iterable
from pathlib import Path

from mothertongue.models.record import identity, read_record
from mothertongue.teaching import naming


def licences_of(folders: Iterable[Path]) -> dict[str, str | None]:
    """Return the licences of teachers, by the names that messages have for them, from the folders of their records."""
    return {naming.identity(identity(folder)): read_record(folder)["licence"] for folder in folders}
