"""The tables of config/ (tab-separated, with a header)."""

import csv
from pathlib import Path


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table by column name."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def language_codes(path: Path, engine: str) -> dict[str, str]:
    """What a multilingual model calls each language that it knows: a column of language_codes.tsv."""
    return {row["code"]: row[engine] for row in read_table(path) if row[engine]}
