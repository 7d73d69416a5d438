"""What every card (README.md) in the hub's format shares: its YAML header, and how code and counts stand in it."""

from collections.abc import Mapping
from typing import Any

import yaml

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def header(values: Mapping[str, Any]) -> list[str]:
    """The YAML header as lines; values that are empty are left out."""
    given = {key: value for key, value in values.items() if value not in (None, "", [], {})}
    text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True, default_flow_style=None, width=1000)
    return ["---", *text.splitlines(), "---"]


def languages(lang: str) -> dict[str, list[str]]:
    """A language in a header: the hub takes codes of two or three letters, and longer ones beside them."""
    return {"language": [lang.partition("-")[0]], "language_bcp47": [lang] if "-" in lang else []}


def python(*lines: str) -> list[str]:
    """Code as it stands in a card."""
    return ["```python", *lines, "```"]


def shell(*lines: str) -> list[str]:
    """Commands as they stand in a card."""
    return ["```sh", *lines, "```"]


def quoted(system_prompt: str) -> list[str]:
    """A system prompt as it stands in a card, however many lines it has."""
    return [f"> {line}".rstrip() for line in system_prompt.splitlines()] or ["> (none)"]


def size_category(rows: int) -> str:
    """The hub's name for a dataset's size."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1M")


def counted(label: str, counts: Mapping[str, int]) -> str:
    """The counts behind their label; empty where there are none."""
    return label + ", ".join(f"{name} {count:,}" for name, count in counts.items()) if counts else ""
