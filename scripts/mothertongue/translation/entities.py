"""HTML entities in prose: those that stand for letters and typography are decoded before translation.

Those with a meaning in HTML (`&lt;`, `&gt;`, `&amp;`, `&nbsp;`) and those of other signs stay, as do all inside code.
"""

import html
import re

from mothertongue.translation import protected_spans

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITIES = re.compile(rf"(?:{_ENTITY.pattern})+")
_TYPOGRAPHY = frozenset("'\"‘’‚‛“”„‟‹›«»–—…")


def decode(text: str, lang: str) -> str:
    """Return a text in language `lang` with the entities of its prose decoded."""
    if "&" not in text or not _ENTITY.search(text):
        return text
    kept = [span for span in protected_spans.spans(text, lang) if not _ENTITIES.fullmatch(text, *span)]
    pieces: list[str] = []
    position = 0
    for start, end in [*kept, (len(text), len(text))]:
        pieces += _ENTITY.sub(_decoded, text[position:start]), text[start:end]
        position = end
    return "".join(pieces)


def _decoded(entity: re.Match[str]) -> str:
    character = html.unescape(entity[0])
    return character if character.isalpha() or character in _TYPOGRAPHY else entity[0]
