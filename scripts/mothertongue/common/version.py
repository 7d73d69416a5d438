"""The workflow's version, for cards and reports.

It is read from the file VERSION when a program runs: were it code, each release would make every result stale.
"""

from functools import cache
from pathlib import Path


@cache
def version() -> str:
    """Return the workflow's version; `unknown` where the file is missing."""
    file = Path(__file__).parents[3] / "VERSION"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else "unknown"
