"""Cards (README.md) rendered from templates: the YAML header, and text, code and counts escaped for Markdown.

Module x.py of this package computes the values of a card; x.md.jinja beside it has all of the wording.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from mothertongue.common.plain_text import one_line
from mothertongue.common.version import version

# Where Markdown, HTML or GitHub's mathematics may begin or end, also in a table (not at an underscore in a word); at
# the beginning of the text, markers of lists, rules and headings; and addresses, which GitHub turns into links.
_MARK = re.compile(
    r"[\\`*\[\]<>&|#~$]|(?<![^\W_])_|_(?![^\W_])|\A[-+=]|\A\d(?=\d{0,8}[.)](\s|\Z))|:(?=//)|(?<=www)\.", re.IGNORECASE
)
# ASCII without backtick and bar, and without leading or trailing spaces.
_PLAIN_CODE = re.compile(r"[!-_a-{}~]([ -_a-{}~]*[!-_a-{}~])?")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(name: str, /, **values: Any) -> str:
    """Return `<name>.md.jinja` rendered with these values, which the template's filters escape for Markdown."""
    return _TEMPLATES.get_template(f"{name}.md.jinja").render(values)


def block(name: str, part: str, /, **values: Any) -> str:
    """Return one named block of a card's template, to replace that part of an existing card."""
    template = _TEMPLATES.get_template(f"{name}.md.jinja")
    return "".join(template.blocks[part](template.new_context(values)))


def header(values: Mapping[str, Any]) -> list[str]:
    """Return the YAML header as lines, without empty values, and with each text on one line."""
    given = {key: _in_one_line(value) for key, value in values.items() if value not in (None, "", [], {})}
    text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True, default_flow_style=None, width=1000)
    return ["---", *text.splitlines(), "---"]


def languages(lang: str) -> dict[str, list[str]]:
    """Return a language's header entries: the hub takes codes of two or three letters, longer as language_bcp47."""
    return {"language": [lang.partition("-")[0]], "language_bcp47": [lang] if "-" in lang else []}


def _in_one_line(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_in_one_line(key): _in_one_line(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(map(_in_one_line, value))
    return one_line(value) if isinstance(value, str) else value


def markdown(text: str) -> str:
    """Return a text as one line of Markdown that renders as this text anywhere and adds no element."""
    return _MARK.sub(lambda found: f"&#{ord(found[0])};", one_line(" ".join(text.split())))


def code(text: str) -> str:
    """Return a text as inline code, for a line or a table cell."""
    # Between backticks a bar would end a table cell; outside tables the backslash that escapes it would be visible.
    return f"`{text}`" if _PLAIN_CODE.fullmatch(text) else f"<code>{markdown(text)}</code>"


def literal(text: str) -> str:
    """Return a text as a Python string literal of one line; what does not print is escaped."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in plain)


def quoted(text: str) -> str:
    """Return a text as a Markdown quotation, line by line; empty for an empty text."""
    return "\n".join(f"> {markdown(line)}".rstrip() for line in text.splitlines())


def size_category(rows: int) -> str:
    """Return the hub's size category for a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1M")


def counted(counts: Mapping[str, int]) -> str:
    """Return counts behind their names: `a 1, b 2`."""
    return ", ".join(f"{markdown(name)} {count:,}" for name, count in counts.items())


def number(value: float, form: str = ",") -> str:
    """Return a number in one of Python's formats; by default with thousands separators."""
    return format(value, form)


def share(entry: Mapping[str, float]) -> str:
    """Return a share with its interval as percentages: `83 (62–94)`."""
    return f"{entry['value']:.0%} ({entry['low']:.0%}–{entry['high']:.0%})".replace("%", "")


def _paragraph(text: str) -> str:
    """Return a Markdown paragraph, which the template wraps over several lines, as one line."""
    return text.strip("\n").replace("\n", " ") + "\n"


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.globals["version"] = version()
_TEMPLATES.filters |= {
    "header": lambda values: "\n".join(header(values)),
    "paragraph": _paragraph,
    "plain_paragraph": lambda text: f"{markdown(text)}\n",
    "markdown": markdown,
    "code": code,
    "literal": literal,
    "quoted": quoted,
    "counted": counted,
    "number": number,
    "share": share,
}
