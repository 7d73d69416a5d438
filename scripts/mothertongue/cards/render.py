"""What every card (README.md) in the hub's format shares: its YAML header, and how text and counts stand in it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mothertongue.common.plain_text import one_line

# Where Markdown, HTML or GitHub's mathematics may begin or end, in a table too; an underscore in a word is one. At the
# beginning also what makes a list, a rule or a heading; then addresses, which become links by themselves.
_MARK = re.compile(
    r"[\\`*\[\]<>&|#~$]|(?<![^\W_])_|_(?![^\W_])|\A[-+=]|\A\d(?=\d{0,8}[.)](\s|\Z))|:(?=//)|(?<=www)\.", re.IGNORECASE
)
# Letters of ASCII without backtick and bar, and without spaces around them.
_PLAIN_CODE = re.compile(r"[!-_a-{}~]([ -_a-{}~]*[!-_a-{}~])?")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def header(values: Mapping[str, Any]) -> list[str]:
    """The YAML header as lines; values that are empty are left out, and texts have one line."""
    given = {key: _in_one_line(value) for key, value in values.items() if value not in (None, "", [], {})}
    text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True, default_flow_style=None, width=1000)
    return ["---", *text.splitlines(), "---"]


def languages(lang: str) -> dict[str, list[str]]:
    """A language in a header: the hub takes codes of two or three letters, and longer ones beside them."""
    return {"language": [lang.partition("-")[0]], "language_bcp47": [lang] if "-" in lang else []}


def _in_one_line(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_in_one_line(key): _in_one_line(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(map(_in_one_line, value))
    return one_line(value) if isinstance(value, str) else value


def markdown(text: str) -> str:
    """A text as Markdown that renders as this text in one line, wherever it stands: it adds no element."""
    return _MARK.sub(lambda found: f"&#{ord(found[0])};", one_line(" ".join(text.split())))


def code(text: str) -> str:
    """A text as code within a line or a cell."""
    # Between backticks a bar would end a cell, and the backslash that keeps it be seen outside of one.
    return f"`{text}`" if _PLAIN_CODE.fullmatch(text) else f"<code>{markdown(text)}</code>"


def row(*cells: str) -> str:
    """A row of a table, of cells that are Markdown."""
    return f"| {' | '.join(cells)} |"


def python(*lines: str) -> list[str]:
    """Code as it stands in a card; texts in it are written by `literal`."""
    return ["```python", *lines, "```"]


def literal(text: str) -> str:
    """A text in Python's code: one line of ASCII."""
    return json.dumps(text)


def shell(*lines: str) -> list[str]:
    """Commands as they stand in a card."""
    return ["```sh", *lines, "```"]


def quoted(system_prompt: str) -> list[str]:
    """A system prompt as it stands in a card, however many lines it has."""
    return [f"> {markdown(line)}".rstrip() for line in system_prompt.splitlines()] or ["> (none)"]


def stated(licences: Mapping[str, str | None]) -> list[str]:
    """A list of licences, by what they are of."""
    return [f"- {markdown(name)}: {markdown(licence or 'not stated')}" for name, licence in licences.items()]


def size_category(rows: int) -> str:
    """The hub's name for a dataset's size."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1M")


def counted(label: str, counts: Mapping[str, int]) -> str:
    """The counts behind their label, which is Markdown; empty where there are none."""
    return label + ", ".join(f"{markdown(name)} {count:,}" for name, count in counts.items()) if counts else ""
