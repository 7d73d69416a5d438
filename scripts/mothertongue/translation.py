"""Translation of messages: segments to the engine and back, with an account of each message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mothertongue import segments
from mothertongue.quality import Limits, objections
from mothertongue.segments import Part

Translate = Callable[[list[str]], list[str]]
Pieces = list[tuple[Part, str]]  # what a part was translated in, each with its translation


@dataclass(frozen=True)
class Translation:
    """What became of one message; `text` is None where there is no usable translation."""

    text: str | None
    status: str
    reasons: list[str] = field(default_factory=list)


def translate_messages(
    texts: Sequence[str], translate: Translate, source: str, target: str, limits: Limits
) -> list[Translation]:
    """Translate messages from language `source` to `target`, one result a message, in order.

    Every distinct segment is given to `translate` once. Segments whose protected spans the model loses are translated
    again in pieces around the spans.
    """
    messages = [segments.split(text, source) for text in texts]
    wanted = {part for parts in messages for part in parts if part.translate}
    translated = _translate_parts(wanted, translate)
    return [_reassemble(parts, translated, target, limits) for parts in messages]


def nothing_to_translate(text: str, lang: str) -> bool:
    """Whether a message is only code, links, numbers, emoji or white space."""
    return not any(part.translate for part in segments.split(text, lang))


def _translate_parts(parts: set[Part], translate: Translate) -> dict[Part, Pieces]:
    """The translation of each part, protected spans in place: in one piece, or in pieces around the spans."""
    masked = _translate_once({part for part in parts if part.maskable}, translate)
    results: dict[Part, Pieces] = {}
    for part, text in masked.items():
        restored = part.restore(text)
        if restored is not None and (not part.spans or _says_something(part, text)):
            results[part] = [(part, restored if part.spans else " ".join(text.split()))]
    damaged = {part: segments.pieces(part) for part in parts if part not in results}
    again = _translate_once({piece for pieces in damaged.values() for piece in pieces if piece.translate}, translate)
    for part, pieces in damaged.items():
        results[part] = [(piece, again[piece] if piece.translate else piece.text) for piece in pieces]
    return results


def _translate_once(parts: set[Part], translate: Translate) -> dict[Part, str]:
    """The engine's text for each part; equal texts are translated once."""
    texts = sorted({part.masked for part in parts})
    translated = dict(zip(texts, translate(texts), strict=True)) if texts else {}
    return {part: translated[part.masked] for part in parts}


def _says_something(part: Part, text: str) -> bool:
    """Whether there are words in a translation besides the placeholders."""
    for placeholder in part.placeholders:
        text = text.replace(placeholder, "")
    return segments.has_words(text)


def _reassemble(parts: list[Part], translated: dict[Part, Pieces], target: str, limits: Limits) -> Translation:
    if not any(part.translate for part in parts):
        return Translation("".join(part.text for part in parts), "copied")
    texts, reasons, usable = [], set(), False
    for part in parts:
        if not part.translate:
            texts.append(part.text)
            continue
        # A piece that the model swallowed stays in its own language rather than vanish; the message is flagged.
        text = "".join(new or piece.text for piece, new in translated[part])
        swallowed = any(piece.translate and not new for piece, new in translated[part])
        reasons.update(["empty"] if swallowed else objections(part.text, text, limits))
        usable = usable or any(piece.translate and new for piece, new in translated[part])
        texts.append(text)
    if not usable:
        return Translation(None, "failed", ["empty translation"])
    return Translation(segments.join(parts, texts, target), "flagged" if reasons else "translated", sorted(reasons))
