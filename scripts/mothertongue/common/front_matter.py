"""Reading the YAML header of a card (README.md), untrusted input: all values as strings, with limits on size."""

import re
from pathlib import Path
from typing import Any

import yaml

from mothertongue.common.errors import UserError

_BEGINNING = re.compile(r"---\r?\n")
_HEADER = re.compile(r"---\r?\n(.*?)^---\r?$", re.DOTALL | re.MULTILINE)
# Maximum number of characters of a header: ten times those of language models' cards.
_LONGEST = 200_000
# Maximum depth of nesting: the time to parse grows as its square.
_DEEPEST = 50
# Reads all values as strings: cards need no other YAML types, and the language code `no` must not become False.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_file(path: Path) -> dict[str, Any]:
    """Read the header of a card's file, of which at most _LONGEST + 1 characters are read; see `read`."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return read(file.read(_LONGEST + 1), path)


def read(text: str, where: Path | str) -> dict[str, Any]:
    """Return a card's header as strings, lists and mappings; empty without a header or where it is not YAML.

    Raise UserError where the header is too long or too deeply nested, or has aliases: a few lines of these can expand
    to more text than fits into memory.
    """
    found = _HEADER.match(text)
    if (found and len(found[1]) > _LONGEST) or (not found and len(text) > _LONGEST and _BEGINNING.match(text)):
        raise UserError(f"{where}: its header is longer than {_LONGEST:,} characters; shorten it, or remove the file")
    if not found:
        return {}
    try:
        _check(found[1], where)
        values = yaml.load(found[1], Loader=_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _check(header: str, where: Path | str) -> None:
    depth = 0
    for event in yaml.parse(header, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{where}: its header has YAML aliases (*name), which are not read; write them out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise UserError(f"{where}: its header has lists in lists, {depth} deep; write it plainly")
