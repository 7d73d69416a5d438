"""Update the table of all configuration keys in config/README.md from the declared settings: `make manual`."""

from itertools import takewhile
from pathlib import Path

from mothertongue.workflow.settings import table

MANUAL = Path("config/README.md")


def with_table(text: str) -> str:
    """Return the manual's text with its table replaced by the current one."""
    lines = text.split("\n")
    start = lines.index(table()[0])
    old = list(takewhile(lambda line: line.startswith("|"), lines[start:]))
    return "\n".join([*lines[:start], *table(), *lines[start + len(old) :]])


if __name__ == "__main__":
    MANUAL.write_text(with_table(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
