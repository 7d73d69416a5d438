"""Translate messages segment by segment, with a status for each message."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mothertongue.translation import entities, foreign, forms, segments, survival
from mothertongue.translation.attempts import Attempt, Strategy, attempt
from mothertongue.translation.checks import Checks
from mothertongue.translation.documents import Document, Documents, Turn
from mothertongue.translation.protected_spans import Span
from mothertongue.translation.segments import Measure, Part

# The reasons of a message with segments in a third language: translated from it, or kept as they are.
FROM, KEPT = "translated from: ", "kept: "

# How much higher a score of meaning must be for the engine whose scores are lower on average. Of 300 FLORES sentences
# by a good and a weak engine (chrF 69.8 and 44.2) the higher score alone chose 75 of the weak one's, two of them better
# (65.8); with this margin 9 (69.3).
_MARGIN = 0.1

Pieces = list[tuple[Part, Attempt | None]]  # pieces of a part with their attempts; None for untranslated pieces


@dataclass(frozen=True)
class Translator:
    """A language pair's strategies in order and its checks.

    `limit` is the longest segment in units of `measure`, `reads` whether the first model has the characters of a text.
    `fallbacks` are those of other engines, for what the first does badly; with `both` they translate everything, and
    the better translation of each segment is kept. `thirds` make the translators of segments in third languages.
    `ahead` has, once it is known, the margin by which the fallbacks' scores of meaning are judged.

    `lines`: the first engine is a chat model, which reads whole lines as they are, with emphasis and capitals.
    `documents` tells such engines of the messages around the segments; None where there is none.
    """

    strategies: Sequence[Strategy]
    checks: Checks
    limit: int
    measure: Measure
    reads: Callable[[str], bool] | None = None
    fallbacks: Sequence[Strategy] = ()
    both: bool = False
    thirds: Mapping[str, Callable[[], "Translator"]] = field(default_factory=dict)
    ahead: list[float] = field(default_factory=list)
    lines: bool = False
    documents: Documents | None = None


@dataclass(frozen=True)
class Translation:
    """The result for one message; `text` is None where there is no usable translation.

    `score` is the mean log-probability of a token over the segments that have one, weighted by their length; `models`
    are those that contributed. `meaning` is the lowest score of meaning of a segment, None where none was judged.
    """

    text: str | None
    status: str
    reasons: list[str] = field(default_factory=list)
    score: float | None = None
    models: list[str] = field(default_factory=list)
    meaning: float | None = None


def translate_messages(
    texts: Sequence[str], translator: Translator, earlier: Sequence[tuple[Turn, ...]] = ()
) -> list[Translation]:
    """Translate messages; return one result per message, in order. `earlier` has the turns before each.

    Translate each distinct segment once. Where the model loses protected spans, translate the segment again in pieces
    around the spans.
    """
    checks = translator.checks
    decoded = [entities.decode(text, checks.source) for text in texts]
    given = translator.limit, translator.measure, _unreadable(decoded, translator)
    split = (segments.split(text, checks.source, *given, translator.lines) for text in decoded)
    messages = [foreign.separate(parts, checks.source, checks.target, translator.thirds) for parts in split]
    if translator.documents:
        translator.documents.read(_documents(messages, earlier or [()] * len(messages)))
    asked = {part for message in messages for part in message.parts if part.translate}
    translated = _translate_by({part for part in asked if not part.lang}, translator)
    for lang in sorted({part.lang for part in asked if part.lang}):
        translated |= _translate_by({part for part in asked if part.lang == lang}, translator.thirds[lang]())
    return [_reassemble(text, one, translated, checks.target) for text, one in zip(texts, messages, strict=True)]


def nothing_to_translate(text: str, lang: str) -> bool:
    """Return whether a message is only code, links, numbers, emoji or white space."""
    return not any(part.translate for part in segments.split(text, lang))


def _documents(messages: Iterable[foreign.Message], earlier: Iterable[tuple[Turn, ...]]) -> Iterator[Document]:
    """Yield the messages as a chat model reads them."""
    for message, turns in zip(messages, earlier, strict=True):
        yield Document(tuple(part.masked for part in message.parts if part.translate), turns)


def _unreadable(texts: Iterable[str], translator: Translator) -> frozenset[str]:
    """Return the characters of the texts that the model's vocabulary lacks."""
    reads = translator.reads
    characters = set().union(*texts) if reads else ()
    return frozenset(character for character in characters if reads and not reads(character))


def _translate_by(parts: Iterable[Part], translator: Translator) -> dict[Part, Pieces]:
    """Return the translation of each part by the translator's first engine, and by the fallbacks."""
    checks = translator.checks
    translated = _translate_parts(parts, translator.strategies, checks)
    if translator.both:
        others = _by_others(translated, translator)
        translated = _better(translated, others, translator.ahead)
    elif translator.fallbacks and (poor := [part for part, pieces in translated.items() if _reasons(pieces)]):
        translated |= _by_fallback({part: translated[part] for part in poor}, translator)
    return translated


def _by_fallback(poor: Mapping[Part, Pieces], translator: Translator) -> dict[Part, Pieces]:
    """Return the translations of the fallback engines that pass all checks, or where there was none before."""
    chosen = {}
    for part, pieces in _by_others(poor, translator).items():
        before = poor[part]
        lacking = any(found and found.text is None for _, found in before)
        done = all(found.text is not None for _, found in pieces if found)
        if done and (lacking or not _reasons(pieces)):
            fixed = () if lacking else tuple(sorted(_reasons(before)))
            chosen[part] = [(piece, replace(found, fixed=fixed) if found else None) for piece, found in pieces]
    return chosen


def _by_others(parts: Iterable[Part], translator: Translator) -> dict[Part, Pieces]:
    """Return the translations of parts by the fallback engines, which read a sentence at a time."""
    if not translator.lines:
        return _translate_parts(parts, translator.fallbacks, translator.checks)
    split = {part: segments.split(part.text, translator.checks.source) for part in parts}
    sentences = {one for ones in split.values() for one in ones if one.translate}
    found = _translate_parts(sentences, translator.fallbacks, translator.checks)
    return {part: [pair for one in ones for pair in found.get(one, [(one, None)])] for part, ones in split.items()}


def _better(first: Mapping[Part, Pieces], second: Mapping[Part, Pieces], known: list[float]) -> dict[Part, Pieces]:
    """Return the better of two engines' translations of each part: with fewer gaps, then fewer failed checks.

    Of two that are equal in both, take that of the engine whose mean score of meaning is higher, unless the other's
    score is higher by a margin: scores tell a wrong translation from a right one, not the better of two right ones.
    The first messages decide whose mean is higher, for all that follow: `known` has the margin from then on.
    """
    scores = [(_meaning(first[part]), _meaning(second[part])) for part in first]
    both = [(one, two) for one, two in scores if one is not None and two is not None]
    if not known and both:
        known.append(_MARGIN if sum(two - one for one, two in both) > 0 else -_MARGIN)
    ahead = known[0] if known else -_MARGIN
    chosen = {}
    for (part, pieces), (one, two) in zip(first.items(), scores, strict=True):
        faults, others = _faults(pieces), _faults(second[part])
        gain = (two or 0.0) - (one or 0.0) + ahead if one is not None and two is not None else ahead
        chosen[part] = second[part] if others < faults or (others == faults and gain > 0) else pieces
    return chosen


def _faults(pieces: Pieces) -> tuple[int, int]:
    """Return the number of pieces without a translation, and of different checks that the others fail."""
    return sum(found.text is None for _, found in pieces if found), len(_reasons(pieces))


def _meaning(pieces: Pieces) -> float | None:
    """Return the lowest score of meaning of a part's pieces; None where none was judged."""
    return min((found.meaning for _, found in pieces if found and found.meaning is not None), default=None)


def _translate_parts(parts: Iterable[Part], strategies: Sequence[Strategy], checks: Checks) -> dict[Part, Pieces]:
    """Return the translation of each part; what a translation has lost is protected in another attempt.

    Where that does not help, the segment is translated in pieces around its brackets and quotation marks.
    """
    results = _around_spans(parts, strategies, checks)
    for places in (_lost, _paired):
        again: dict[Part, Part] = {}
        for pieces in results.values():
            for part, found in pieces:
                if found and found.text and (spans := places(part, found, checks)):
                    again[part] = part.protecting(spans, spans)
        retried = _around_spans(set(again.values()), strategies, checks) if again else {}
        better = {part: retried[protected] for part, protected in again.items()}
        results = {part: _improved(pieces, better) for part, pieces in results.items()}
    return results


def _lost(part: Part, found: Attempt, checks: Checks) -> dict[Span, str]:
    """Return the places in a source of what its translation lacks, with what must stand there."""
    if not found.reasons:
        return {}
    losses = [loss for loss in checks.losses(part.text, found.text or "") if loss.kind in found.reasons]
    places = {span: part.text[slice(*span)] for loss in losses for span in loss.spans}
    return places | {span: text for loss in losses for span, text in loss.given.items()}


def _paired(part: Part, found: Attempt, checks: Checks) -> dict[Span, str]:
    """Return the places of a source's brackets and quotation marks where the translation lacks or adds some."""
    places = survival.paired(part.text) if survival.PAIRED.intersection(found.reasons) else []
    return {span: part.text[slice(*span)] for span in places}


def _improved(pieces: Pieces, retried: Mapping[Part, Pieces]) -> Pieces:
    """Return pieces with those of a second attempt in the place of each that fails more checks."""
    improved: Pieces = []
    for part, found in pieces:
        second = retried.get(part, [])
        if found and second and any(one for _, one in second) and len(_reasons(second)) < len(found.reasons):
            fixed = tuple(reason for reason in found.reasons if reason not in _reasons(second))
            improved += [
                (one, replace(other, fixed=(*other.fixed, *fixed)) if other else None) for one, other in second
            ]
        else:
            improved.append((part, found))
    return improved


def _reasons(pieces: Pieces) -> set[str]:
    return {reason for _, found in pieces if found for reason in found.reasons}


def _around_spans(parts: Iterable[Part], strategies: Sequence[Strategy], checks: Checks) -> dict[Part, Pieces]:
    """Return the translation of each part with its protected spans: whole, or in pieces around the spans."""
    parts = set(parts)
    masked = _translate_once((part for part in parts if part.maskable), strategies, checks)
    results: dict[Part, Pieces] = {}
    for part, found in masked.items():
        restored = _restore(part, found)
        if restored is not None:
            results[part] = [(part, restored)]
    damaged = {part: segments.pieces(part) for part in parts if part not in results}
    texts = (piece for pieces in damaged.values() for piece in pieces if piece.translate)
    again = _translate_once(texts, strategies, checks)
    for part, pieces in damaged.items():
        results[part] = [(piece, _restore(piece, again[piece]) if piece in again else None) for piece in pieces]
    return results


def _translate_once(parts: Iterable[Part], strategies: Sequence[Strategy], checks: Checks) -> dict[Part, Attempt]:
    """Return the attempt at each part; translate equal texts once, and texts of a difficult form as plain ones."""
    texts = {part: part.masked for part in parts}
    difficult = set() if strategies[0].reads_forms else set(texts.values())
    plain = {text: form for text in difficult if (form := forms.plain(text, checks.source))}
    asked = set(texts.values()) - plain.keys()
    asked |= {text for form in plain.values() for text in form.asked}
    found = attempt(asked, strategies, checks)
    finished = {text: _finish(form, found, checks.target) for text, form in plain.items()}
    return {part: finished[text] if text in finished else found[text] for part, text in texts.items()}


def _finish(form: forms.Plain, found: Mapping[str, Attempt], target: str) -> Attempt:
    """Return the attempt at a plain text with the form of its segment."""
    done = found[form.text]
    if done.text is None:
        return done
    text, notes = form.finish({asked: found[asked].text for asked in form.asked}, target)
    return replace(done, text=text, notes=notes)


def _restore(part: Part, found: Attempt) -> Attempt | None:
    """Return an attempt with placeholders replaced by the part's spans; None where the model damaged one."""
    if found.text is None:
        return None if part.spans else found
    text = part.restore(found.text) if not part.spans or _says_something(part, found.text) else None
    return None if text is None else replace(found, text=text)


def _says_something(part: Part, text: str) -> bool:
    """Return whether a translation has words besides the placeholders, where its source has."""
    source = part.masked
    for placeholder in part.placeholders:
        source, text = source.replace(placeholder, ""), text.replace(placeholder, "")
    return segments.has_words(text) or not segments.has_words(source)


def _reassemble(source: str, message: foreign.Message, translated: dict[Part, Pieces], target: str) -> Translation:
    parts = message.parts
    others = [lang for lang in message.kept if lang != target]
    languages = [f"{KEPT}{lang}" for lang in message.kept] + [f"{FROM}{lang}" for lang in message.read]
    pieces = {part: translated[part] for part in parts if part.translate}
    if not pieces:
        return Translation(source, "flagged" if others else "copied", languages)
    tried = [found for part in parts if part.translate for _, found in pieces[part] if found]
    reasons = sorted({reason for found in tried for reason in found.reasons})
    models = sorted({found.model for found in tried})
    if not any(found.text for found in tried):
        return Translation(None, "failed", reasons, models=models)
    fixed = sorted({f"cured: {reason}" for found in tried for reason in found.fixed})
    fixed += languages
    fixed += sorted({note for found in tried for note in found.notes})
    meaning = min((found.meaning for found in tried if found.text and found.meaning is not None), default=None)
    texts = [_text(pieces[part], target) if part.translate else part.text for part in parts]
    text = segments.join(parts, texts, target)
    if all(_unchanged(part, pieces[part]) for part in pieces):
        text = source  # its entities too
    return Translation(
        text,
        "flagged" if reasons or (others and message.mostly) else "translated",
        reasons + fixed,
        _score(tried),
        models,
        meaning,
    )


def _unchanged(part: Part, pieces: Pieces) -> bool:
    """Return whether the translation of a part is its text."""
    same = all(found.text == piece.text for piece, found in pieces if found)
    return same and "".join(piece.text for piece, _ in pieces) == part.text


def _text(pieces: Pieces, target: str) -> str:
    """Join the translated pieces; a piece without a translation keeps its source text, and its message is flagged."""
    texts = [found.text if found and found.text else part.text for part, found in pieces]
    return segments.join([part for part, _ in pieces], texts, target)


def _score(tried: list[Attempt]) -> float | None:
    scored = [(found.score, len(found.text)) for found in tried if found.text and found.score is not None]
    total = sum(length for _, length in scored)
    return sum(score * length for score, length in scored) / total if total else None
