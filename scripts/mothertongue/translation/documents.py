"""Messages as a chat model reads them: with all of their segments, and the turns before them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mothertongue.common.plain_text import byte_length
from mothertongue.translation import protected_spans

_MARKUP = re.compile(r"[<\[\n]")
# What looks like a control token of any family.
_CONTROL = re.compile(r"<[|/]?[^<>\n]{1,40}>|\[/?[A-Za-z_]{1,16}\]")
# Bytes of a line's number.
_NUMBER = 16
# (role, text) of a message before another.
Turn = tuple[str, str]


@dataclass(frozen=True)
class Document:
    """The segments of a message as the model reads them, in order, and the earlier turns of its thread."""

    texts: tuple[str, ...]
    earlier: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Group:
    """Segments that are translated by one request: their numbers among those asked for, and their texts.

    `before` are segments of the same message that stand before them, `earlier` the turns before the message.
    """

    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    before: tuple[str, ...] = ()
    earlier: tuple[Turn, ...] = ()


@dataclass
class Documents:
    """The messages whose segments are being translated. A segment is read in the first message that has it.

    `earlier_bytes` are the UTF-8 bytes of the turns before a message at most, and of what is before a group in it.
    """

    earlier_bytes: int
    _places: dict[str, tuple[Document, int]] = field(default_factory=dict)

    def read(self, documents: Iterable[Document]) -> None:
        """Replace the messages."""
        self._places = {}
        for document in documents:
            for place, text in enumerate(document.texts):
                self._places.setdefault(text, (document, place))

    def groups(self, texts: Sequence[str], limit: int, most: int) -> Iterator[Group]:
        """Yield the segments by message, in groups of at most `limit` UTF-8 bytes and `most`; those of none alone."""
        by_document: dict[int, list[tuple[int, int]]] = {}
        documents: dict[int, Document] = {}
        for number, text in enumerate(texts):
            if text in self._places:
                document, place = self._places[text]
                documents[id(document)] = document
                by_document.setdefault(id(document), []).append((place, number))
            else:
                yield Group((number,), (text,))
        for key, found in by_document.items():
            document = documents[key]
            for places in _packed(sorted(found), document.texts, limit, most):
                numbers = tuple(number for _, number in places)
                before = _last(document.texts[: places[0][0]], self.earlier_bytes)
                yield Group(numbers, tuple(texts[number] for number in numbers), before, document.earlier)


def line_length(text: str) -> int:
    """Return the length of a line of a request in UTF-8 bytes, with its number."""
    return byte_length(text) + _NUMBER


def earlier_turns(
    message: str, messages: Mapping[str, tuple[str | None, str, str | None]], limit: int
) -> tuple[Turn, ...]:
    """Return the turns before a message, at most `limit` UTF-8 bytes: the first of these is cut at its beginning.

    `messages` has the parent, role and plain text of each message by its id.
    """
    turns: list[Turn] = []
    seen = {message}
    parent = messages[message][0]
    while limit > 0 and parent is not None and parent in messages and parent not in seen:
        seen.add(parent)
        above, role, text = messages[parent]
        if text:
            turns.append((role, _end_of(text, limit)))
            limit -= byte_length(text)
        parent = above
    return tuple(reversed(turns))


def _packed(
    found: Sequence[tuple[int, int]], texts: Sequence[str], limit: int, most: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield runs of segments that are together within the limits; a longer one alone."""
    run: list[tuple[int, int]] = []
    size = 0
    for place, number in found:
        length = line_length(texts[place])
        if run and (size + length > limit or len(run) == most):
            yield run
            run, size = [], 0
        run.append((place, number))
        size += length
    if run:
        yield run


def _last(texts: tuple[str, ...], limit: int) -> tuple[str, ...]:
    """Return the last of the texts that are together within a limit."""
    kept = len(texts)
    while kept and (limit := limit - byte_length(texts[kept - 1])) >= 0:
        kept -= 1
    return texts[kept:]


def plain(text: str, lang: str) -> str:
    """Return a text in language `lang` as one line, with ellipses for code and what a model might read as control."""
    pieces: list[str] = []
    position = 0
    for start, end in protected_spans.spans(text, lang):
        if _MARKUP.search(text, start, end):
            pieces += text[position:start], "…"
            position = end
    return " ".join(_CONTROL.sub("…", "".join([*pieces, text[position:]])).split())


def _end_of(text: str, limit: int) -> str:
    """Return the end of a text of at most `limit` UTF-8 bytes, with a mark where the beginning is cut."""
    if byte_length(text) <= limit:
        return text
    return "… " + text.encode("utf-8", "surrogatepass")[-limit:].decode("utf-8", "ignore").lstrip()
