"""Reading the tables of config/ (tab-separated, with a header)."""

import csv
from collections.abc import Callable
from pathlib import Path

# Returns the path of a table by its name: those of a folder are `folder.joinpath`.
Tables = Callable[[str], Path]


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a table as mappings from column names to values."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def language_codes(path: Path, engine: str) -> dict[str, str]:
    """Read a multilingual model's codes of its languages, by our codes: a column of language_codes.tsv."""
    return {row["code"]: row[engine] for row in read_table(path) if row[engine]}
