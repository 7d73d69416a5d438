"""Translate every text, and retry those that fail a quality check with the next strategies."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.translation import survival
from mothertongue.translation.checks import Checks, Estimate
from mothertongue.translation.engines.base import Output
from mothertongue.translation.memory import Remembered

# The signature of Engine.translate: yields each output with the index of its text.
Translate = Callable[[list[str]], Iterator[tuple[int, Output]]]
# An engine that fails for more texts than this, and for most of them, is broken: the texts are not the cause.
_FAILURES = 20


@dataclass(frozen=True)
class Attempt:
    """The translation of a text; `text` is None where the engine failed.

    `reasons` names the checks that it fails, `fixed` those that earlier attempts failed and it passes, `notes` what
    came off that the source has. `meaning` is the estimator's score, None where it is not judged. `faults` are those of
    the reasons that the text does not show: what the engine found wrong, and that the output was cut off.
    """

    text: str | None
    score: float | None
    model: str
    reasons: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    meaning: float | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strategy:
    """An engine with a decoding method. `fits` returns whether it accepts a text, `model` is the model's identity.

    `fixes` are the checks failed by earlier attempts that it may pass; None for all. `remembered` has what it gave
    before, None where nothing is remembered. `faults` returns what the engine itself found wrong with its last
    translation of a text. `reads_forms`: it reads emphasis and capitals as they are.
    """

    translate: Translate
    fits: Callable[[str], bool]
    model: str
    fixes: frozenset[str] | None = None
    remembered: Remembered | None = None
    faults: Callable[[str], tuple[str, ...]] = lambda text: ()
    reads_forms: bool = False

    def takes(self, text: str, before: Attempt | None) -> bool:
        """Return whether the strategy may improve a text after an earlier attempt."""
        hopeless = before and self.fixes is not None and not self.fixes.issuperset(before.reasons)
        return not hopeless and self.fits(text)


def attempt(texts: Iterable[str], strategies: Sequence[Strategy], checks: Checks) -> dict[str, Attempt]:
    """Translate each distinct text with the first strategy, those that fail a check with the next, and so on.

    A later attempt replaces an earlier one only where it passes all checks, where the earlier one has no text, or where
    both fail by meaning alone and its score is higher.
    """
    best: dict[str, Attempt] = {}
    pending = sorted(set(texts))
    for way in strategies:
        tried = [text for text in pending if way.takes(text, best.get(text))]
        for text, found in _attempts(way, tried, checks).items():
            before = best.get(text)
            if before is None or before.text is None:
                best[text] = found
            elif not found.reasons:
                best[text] = replace(found, fixed=(*before.reasons, *found.fixed))
            elif found.reasons == before.reasons == ("meaning",) and (found.meaning or -1) > (before.meaning or -1):
                best[text] = found
        pending = [text for text in pending if text not in best or best[text].reasons]
        if not pending:
            break
    best |= _without_added_brackets(best, checks)
    lost = {text: Attempt(None, None, strategies[0].model, ("too long",)) for text in pending if text not in best}
    return best | lost


def ask(translate: Translate, texts: list[str]) -> Generator[tuple[str, Output | None]]:
    """Yield each text with the engine's output as it arrives; None for texts at which the engine fails.

    Where the engine raises or omits texts, bisect the missing ones to isolate those that fail. Reraise the engine's
    error where it fails for most texts, or no longer translates a text that it has translated: it is broken then, and
    the texts are not at fault.
    """
    answered = failed = 0
    translated: str | None = None
    waiting = [texts]
    while waiting:
        some = waiting.pop()
        missing = dict.fromkeys(range(len(some)))
        failure: Exception | None = None
        try:
            for index, output in translate(some):
                del missing[index]
                answered += 1
                translated = some[index]
                yield some[index], output
            if missing:
                failure = RuntimeError(f"the engine left out {len(missing)} of {len(some)} segments")
        except (UserError, MemoryError):
            raise
        except Exception as error:
            failure = error
        if failure is None:
            continue
        rest = [some[index] for index in missing]
        if len(rest) > 1:
            waiting += [rest[len(rest) // 2 :], rest[: len(rest) // 2]]
        elif rest:
            failed += 1
            broken = translated is not None and _raises(translate, translated)
            if broken or (failed > _FAILURES and 2 * failed > answered):
                raise failure
            log(f"translate: warning: the engine failed at '{rest[0][:60]}': {failure}")
            answered += 1
            yield rest[0], None


def _raises(translate: Translate, text: str) -> bool:
    """Return whether an engine raises an error of its own at a text."""
    try:
        list(translate([text]))
    except (UserError, MemoryError):
        raise
    except Exception:  # the caller raises that of the text that it asked for first
        return True
    return False


def _attempts(way: Strategy, texts: list[str], checks: Checks) -> dict[str, Attempt]:
    """Return a strategy's attempt at each text; outputs are checked as they arrive, while the model is running."""
    known = way.remembered.recall(texts) if way.remembered else {}
    unknown = [text for text in texts if text not in known]
    found = _all(known, unknown, way)
    with closing(found):
        attempts = {text: _judged(text, output, way, checks) for text, output in found}
    return attempts if checks.estimate is None else _by_meaning(attempts, checks.estimate)


def _all(known: dict[str, Output], unknown: list[str], way: Strategy) -> Generator[tuple[str, Output | None]]:
    """Yield what is remembered, then what the engine gives, which is remembered."""
    yield from known.items()
    if unknown:
        with closing(ask(way.translate, unknown)) as found:
            yield from way.remembered.keep(found) if way.remembered else found


def _by_meaning(attempts: dict[str, Attempt], estimate: Estimate) -> dict[str, Attempt]:
    """Return the attempts with their scores of meaning; those below the threshold fail the check `meaning`."""
    # In one order: the numbers of a batch depend on what is in it, and what is remembered comes before what is new.
    pairs = sorted(
        ((text, found.text) for text, found in attempts.items() if found.text), key=lambda pair: (len(pair[0]), pair)
    )
    for (text, _), score in zip(pairs, estimate.scores(pairs), strict=True):
        found = attempts[text]
        reasons = (*found.reasons, "meaning") if score < estimate.threshold else found.reasons
        attempts[text] = replace(found, meaning=score, reasons=reasons)
    return attempts


def _judged(text: str, output: Output | None, way: Strategy, checks: Checks) -> Attempt:
    if output is None:
        return Attempt(None, None, way.model, ("engine error",))
    output = output._replace(text=survival.tidy(text, output.text))
    faults = way.faults(text)
    if faults and not output.text.strip():
        return Attempt(output.text, output.score, way.model, faults)
    reasons = (*faults, *checks.failures(text, output))
    hidden = faults if output.complete else (*faults, "repetition")
    return Attempt(output.text, output.score, way.model, reasons, faults=hidden)


def _without_added_brackets(best: dict[str, Attempt], checks: Checks) -> dict[str, Attempt]:
    """Return those attempts that are better without the remarks in brackets that a model added."""
    cut: dict[str, Attempt] = {}
    for text, found in best.items():
        if "brackets" in found.reasons and found.text:
            plain = survival.without_added_brackets(text, found.text)
            if plain != found.text and plain.strip():
                reasons = tuple(dict.fromkeys((*found.faults, *checks.failures(text, Output(plain, found.score)))))
                cut[text] = replace(found, text=plain, reasons=reasons, fixed=(*found.fixed, "brackets"))
    judged = cut if checks.estimate is None else _by_meaning(cut, checks.estimate)
    return {text: found for text, found in judged.items() if len(found.reasons) < len(best[text].reasons)}
