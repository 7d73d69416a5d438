"""Write the table of all keys into config/README.md, as the settings are declared: `make manual`."""

from itertools import takewhile
from pathlib import Path

from mothertongue.workflow.settings import table

MANUAL = Path("config/README.md")


def with_table(text: str) -> str:
    """The manual with the table of today in the place of the one that it has."""
    lines = text.split("\n")
    start = lines.index(table()[0])
    old = list(takewhile(lambda line: line.startswith("|"), lines[start:]))
    return "\n".join([*lines[:start], *table(), *lines[start + len(old) :]])


if __name__ == "__main__":
    MANUAL.write_text(with_table(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
