"""Translate messages segment by segment, with a status for each message."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from mothertongue.translation import segments
from mothertongue.translation.attempts import Attempt, Strategy, attempt
from mothertongue.translation.checks import Checks
from mothertongue.translation.protected_spans import Reads
from mothertongue.translation.segments import Measure, Part

Pieces = list[tuple[Part, Attempt | None]]  # pieces of a part with their attempts; None for untranslated pieces


@dataclass(frozen=True)
class Translator:
    """A language pair's strategies in order and its checks.

    `limit` is the longest segment in units of `measure`, `reads` whether the first model has the characters of a text.
    """

    strategies: Sequence[Strategy]
    checks: Checks
    limit: int
    measure: Measure
    reads: Reads | None = None


@dataclass(frozen=True)
class Translation:
    """The result for one message; `text` is None where there is no usable translation.

    `score` is the mean log-probability of a token over the segments that have one, weighted by their length; `models`
    are those that contributed.
    """

    text: str | None
    status: str
    reasons: list[str] = field(default_factory=list)
    score: float | None = None
    models: list[str] = field(default_factory=list)


def translate_messages(texts: Sequence[str], translator: Translator) -> list[Translation]:
    """Translate messages; return one result per message, in order.

    Translate each distinct segment once. Where the model loses protected spans, translate the segment again in pieces
    around the spans.
    """
    checks = translator.checks
    given = translator.limit, translator.measure, translator.reads
    messages = [segments.split(text, checks.source, *given) for text in texts]
    translated = _translate_parts({part for parts in messages for part in parts if part.translate}, translator)
    return [_reassemble(parts, translated, checks.target) for parts in messages]


def nothing_to_translate(text: str, lang: str) -> bool:
    """Return whether a message is only code, links, numbers, emoji or white space."""
    return not any(part.translate for part in segments.split(text, lang))


def _translate_parts(parts: set[Part], translator: Translator) -> dict[Part, Pieces]:
    """Return the translation of each part with its protected spans: whole, or in pieces around the spans."""
    masked = _translate_once((part for part in parts if part.maskable), translator)
    results: dict[Part, Pieces] = {}
    for part, found in masked.items():
        restored = _restore(part, found)
        if restored is not None:
            results[part] = [(part, restored)]
    damaged = {part: segments.pieces(part) for part in parts if part not in results}
    again = _translate_once((piece for pieces in damaged.values() for piece in pieces if piece.translate), translator)
    for part, pieces in damaged.items():
        results[part] = [(piece, _restore(piece, again[piece]) if piece in again else None) for piece in pieces]
    return results


def _translate_once(parts: Iterable[Part], translator: Translator) -> dict[Part, Attempt]:
    """Return the attempt at each part; translate equal texts once."""
    texts = {part: part.masked for part in parts}
    found = attempt(texts.values(), translator.strategies, translator.checks)
    return {part: found[text] for part, text in texts.items()}


def _restore(part: Part, found: Attempt) -> Attempt | None:
    """Return an attempt with placeholders replaced by the part's spans; None where the model damaged one."""
    if found.text is None:
        return None if part.spans else found
    text = part.restore(found.text) if not part.spans or _says_something(part, found.text) else None
    return None if text is None else replace(found, text=text)


def _says_something(part: Part, text: str) -> bool:
    """Return whether a translation has words besides the placeholders."""
    for placeholder in part.placeholders:
        text = text.replace(placeholder, "")
    return segments.has_words(text)


def _reassemble(parts: list[Part], translated: dict[Part, Pieces], target: str) -> Translation:
    pieces = {part: translated[part] for part in parts if part.translate}
    if not pieces:
        return Translation("".join(part.text for part in parts), "copied")
    tried = [found for part in parts if part.translate for _, found in pieces[part] if found]
    reasons = sorted({reason for found in tried for reason in found.reasons})
    models = list(dict.fromkeys(found.model for found in tried))
    if not any(found.text for found in tried):
        return Translation(None, "failed", reasons, models=models)
    fixed = sorted({f"cured: {reason}" for found in tried for reason in found.fixed})
    texts = [_text(pieces[part], target) if part.translate else part.text for part in parts]
    text = segments.join(parts, texts, target)
    return Translation(text, "flagged" if reasons else "translated", reasons + fixed, _score(tried), models)


def _text(pieces: Pieces, target: str) -> str:
    """Join the translated pieces; a piece without a translation keeps its source text, and its message is flagged."""
    texts = [found.text if found and found.text else part.text for part, found in pieces]
    return segments.join([part for part, _ in pieces], texts, target)


def _score(tried: list[Attempt]) -> float | None:
    scored = [(found.score, len(found.text)) for found in tried if found.text and found.score is not None]
    total = sum(length for _, length in scored)
    return sum(score * length for score, length in scored) / total if total else None
