"""Attempts at a translation: every text comes back, and what came out badly is tried by other strategies."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.translation.checks import Checks
from mothertongue.translation.engines.base import Output

# As Engine.translate: yields each output with the index of its text.
Translate = Callable[[list[str]], Iterator[tuple[int, Output]]]
# An engine that fails for more texts than this, and for most of them, is broken: that is no matter of the texts.
_FAILURES = 20


@dataclass(frozen=True)
class Attempt:
    """The translation of a text; `text` is None where the engine failed.

    `reasons` names the checks that object to it, `fixed` those that objected to earlier attempts and no longer do.
    """

    text: str | None
    score: float | None
    model: str
    reasons: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strategy:
    """A way to translate: an engine with a decoding. `fits` says which texts it takes, `model` is its identity.

    `fixes` are the objections to earlier attempts that it may do away with; None for all.
    """

    translate: Translate
    fits: Callable[[str], bool]
    model: str
    fixes: frozenset[str] | None = None

    def takes(self, text: str, before: Attempt | None) -> bool:
        """Whether the way is worth trying for a text, after an earlier attempt."""
        hopeless = before and self.fixes is not None and not self.fixes.issuperset(before.reasons)
        return not hopeless and self.fits(text)


def attempt(texts: Iterable[str], strategies: Sequence[Strategy], checks: Checks) -> dict[str, Attempt]:
    """Translate each distinct text in the first way; those that a check objects to in the next, and so on.

    A later attempt counts where no check objects to it, or where there was none before.
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
                best[text] = Attempt(found.text, found.score, found.model, (), before.reasons)
        pending = [text for text in pending if text not in best or best[text].reasons]
        if not pending:
            break
    lost = {text: Attempt(None, None, strategies[0].model, ("too long",)) for text in pending if text not in best}
    return best | lost


def ask(translate: Translate, texts: list[str]) -> Iterator[tuple[str, Output | None]]:
    """Yield each text with an engine's output, as they come; None for those that it fails at.

    Where it raises or leaves some out, those are halved until the ones at fault are found. Raises what the engine
    raises where it fails for most texts.
    """
    answered = failed = 0
    waiting = [texts]
    while waiting:
        some = waiting.pop()
        missing = dict.fromkeys(range(len(some)))
        failure: Exception | None = None
        try:
            for index, output in translate(some):
                del missing[index]
                answered += 1
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
            if failed > _FAILURES and 2 * failed > answered:
                raise failure
            log(f"translate: warning: the engine failed at '{rest[0][:60]}': {failure}")
            answered += 1
            yield rest[0], None


def _attempts(way: Strategy, texts: list[str], checks: Checks) -> dict[str, Attempt]:
    """The attempt of a way at each text, judged as it comes: the checks take no time while the model works."""
    found = ask(way.translate, texts) if texts else iter(())
    return {text: _judged(text, output, way.model, checks) for text, output in found}


def _judged(text: str, output: Output | None, model: str, checks: Checks) -> Attempt:
    if output is None:
        return Attempt(None, None, model, ("engine error",))
    return Attempt(output.text, output.score, model, tuple(checks.failures(text, output)))
