"""Update the manual's tables of all configuration keys from the declared settings: `make manual`."""

from pathlib import Path

from mothertongue.workflow.settings import tables

MANUAL = Path("docs/reference/configuration.md")


def with_tables(text: str) -> str:
    """Return the manual's text with its tables, which follow its introduction, replaced by the current ones."""
    return "\n".join([text.partition("\n## ")[0], *tables()])


if __name__ == "__main__":
    MANUAL.write_text(with_tables(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
