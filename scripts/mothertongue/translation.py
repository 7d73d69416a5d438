"""Translation of messages: segments to the engine and back, with an account of each message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mothertongue import segments
from mothertongue.quality import Limits, objections
from mothertongue.segments import Part

Translate = Callable[[list[str]], list[str]]


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


def _translate_parts(parts: set[Part], translate: Translate) -> dict[Part, str]:
    """The translation of each part, its protected spans in place."""
    masked = sorted({part.masked for part in parts if part.maskable})
    texts = dict(zip(masked, translate(masked), strict=True)) if masked else {}
    results = {part: part.restore(texts[part.masked]) if part.maskable else None for part in parts}
    damaged = {part: segments.pieces(part) for part, text in results.items() if text is None}
    if damaged:
        again = sorted({piece.masked for pieces in damaged.values() for piece in pieces if piece.translate})
        texts = dict(zip(again, translate(again), strict=True)) if again else {}
        for part, pieces in damaged.items():
            results[part] = "".join(
                texts[piece.masked] or piece.text if piece.translate else piece.text for piece in pieces
            )
    return results


def _reassemble(parts: list[Part], translated: dict[Part, str], target: str, limits: Limits) -> Translation:
    if not any(part.translate for part in parts):
        return Translation("".join(part.text for part in parts), "copied")
    texts, reasons, usable = [], set(), False
    for part in parts:
        if not part.translate:
            texts.append(part.text)
            continue
        text = " ".join(translated[part].split()) if not part.spans else translated[part]
        reasons.update(objections(part.text, text, limits))
        usable = usable or bool(text)
        # A segment that the model swallowed stays in its own language rather than vanish; the message is flagged.
        texts.append(text or part.text)
    if not usable:
        return Translation(None, "failed", ["empty translation"])
    return Translation(segments.join(parts, texts, target), "flagged" if reasons else "translated", sorted(reasons))
