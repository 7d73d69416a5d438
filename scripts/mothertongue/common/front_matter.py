"""The YAML header of a card (README.md), which others have written: read as texts, within limits."""

import re
from pathlib import Path
from typing import Any

import yaml

from mothertongue.common.errors import UserError

_BEGINNING = re.compile(r"---\r?\n")
_HEADER = re.compile(r"---\r?\n(.*?)^---\r?$", re.DOTALL | re.MULTILINE)
# Characters; ten times what the cards of language models have.
_LONGEST = 200_000
# Lists in lists: reading takes the square of their depth.
_DEEPEST = 50
# All values are texts: of the rest of YAML a card needs nothing, and `no` stays Norwegian.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_file(path: Path) -> dict[str, Any]:
    """The values of a card's header; see `read`. No more of the file is read than a header may have."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return read(file.read(_LONGEST + 1), path)


def read(text: str, where: Path | str) -> dict[str, Any]:
    """The values of a card's header, texts, lists and mappings; none where it has no header, or one that is not YAML.

    Raises UserError where the header is longer than any, or refers to parts of itself: a few lines of such references
    stand for more text than a machine can hold.
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
