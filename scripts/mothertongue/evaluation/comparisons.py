"""Comparisons of two answers by a judge, who sees each pair in both orders.

An answer wins where the judge prefers it in both orders. Where the order decides, the comparison counts as a tie, and
in the figures of the judge's position bias.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from mothertongue.common.plain_text import byte_length
from mothertongue.common.progress import Progress
from mothertongue.endpoints.answers import Outcome
from mothertongue.endpoints.client import Client
from mothertongue.endpoints.protocol import Request
from mothertongue.evaluation import judge_prompt
from mothertongue.evaluation.bootstrap import Bootstrap, ratio
from mothertongue.evaluation.judge_prompt import TIE, A, B, Turn

# Outcomes for the first answer of a pair.
WIN, LOSS, BOTH_TIE, INCONSISTENT, IDENTICAL = "wins", "losses", "ties", "inconsistent", "identical"
# Outcomes of pairs that are left out of the figures.
NO_VERDICT, TOO_LONG = "no_verdict", "too_long"
OUTCOMES = (WIN, LOSS, BOTH_TIE, INCONSISTENT, IDENTICAL, NO_VERDICT, TOO_LONG)
_SCORES = {WIN: 1.0, LOSS: 0.0, BOTH_TIE: 0.5, INCONSISTENT: 0.5, IDENTICAL: 0.5}
# The fewest pairs with the longer answer first, and with the shorter one, for a score that is balanced by length.
ENOUGH_OF_A_LENGTH = 5
# Bytes of a token, as few as texts in large alphabets have.
_BYTES_A_TOKEN = 2


@dataclass(frozen=True)
class Comparison:
    """Two answers to the last message of a conversation, whose id is `name`.

    Those of one `group` are alike, and are resampled together.
    """

    turns: tuple[Turn, ...]
    first: str
    second: str
    group: Hashable
    name: str = ""

    def ask(self, language: str, swapped: bool, again: bool) -> tuple[dict[str, str], ...]:
        """Return what a judge is asked; `swapped`: the second answer is shown first."""
        a, b = (self.second, self.first) if swapped else (self.first, self.second)
        return judge_prompt.ask(self.turns, a, b, language, again)


@dataclass
class Judgement:
    """A judge's verdicts on a pair, in both orders: A is the answer that was shown first; None where there is none.

    `faults` are the reasons of answers without a verdict, those of first attempts included. `unasked` is the outcome
    of a pair that no judge was asked about.
    """

    unasked: str = ""
    verdicts: list[str | None] = field(default_factory=lambda: [None, None])
    faults: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """One of OUTCOMES, for the first answer of the pair."""
        straight, swapped = self.verdicts
        if self.unasked or straight is None or swapped is None:
            return self.unasked or NO_VERDICT
        return {(A, B): WIN, (B, A): LOSS, (TIE, TIE): BOTH_TIE}.get((straight, swapped), INCONSISTENT)

    @property
    def score(self) -> float | None:
        """What the comparison counts for the first answer: 1, 0, or a half; None where it is left out."""
        return _SCORES.get(self.outcome)


@dataclass(frozen=True)
class Judge:
    """A judge behind a client: the longest answer and the window in tokens."""

    client: Client
    max_tokens: int
    window: int

    def compare(self, what: str, comparisons: Sequence[Comparison], language: str) -> list[Judgement]:
        """Return the judge's verdicts on pairs of answers in a language (its English name).

        Each order is asked once, and once more where the answer has no verdict; a question that occurs twice is asked
        once. Raise UserError where the server does not work, and where the budget is spent.
        """
        found = [Judgement(self._unasked(one, language)) for one in comparisons]
        asked = [(at, swapped) for at, one in enumerate(found) if not one.unasked for swapped in (False, True)]
        for again in (False, True):
            requests = [
                Request(comparisons[at].ask(language, swapped, again), self.max_tokens) for at, swapped in asked
            ]
            unread = []
            for place, outcome in zip(asked, self._answers(f"{what}, again" if again else what, requests), strict=True):
                at, swapped = place
                if isinstance(outcome, str):
                    found[at].faults.append(outcome)
                    continue
                found[at].verdicts[swapped], fault = judge_prompt.read_verdict(outcome)
                if fault:
                    found[at].faults.append(fault)
                    unread.append(place)
            asked = unread
        return found

    def _answers(self, what: str, requests: Sequence[Request]) -> list[Outcome]:
        """Return the outcome of each request; those that are alike have one."""
        keys = [self.client.key(request) for request in requests]
        unique = dict(zip(keys, requests, strict=True))
        names, outcomes = list(unique), {}
        progress = Progress("judge", len(unique), f"verdicts, {what}")
        with closing(self.client.stream(list(unique.values()))) as stream:
            for index, outcome in stream:
                outcomes[names[index]] = outcome
                progress.advance(1)
        progress.finish()
        return [outcomes[key] for key in keys]

    def _unasked(self, comparison: Comparison, language: str) -> str:
        if comparison.first.strip() == comparison.second.strip():
            return IDENTICAL
        length = sum(byte_length(message["content"]) for message in comparison.ask(language, False, True))
        return TOO_LONG if length > _BYTES_A_TOKEN * (self.window - self.max_tokens) else ""


def figures(judgements: Sequence[Judgement], groups: Sequence[Hashable], bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the outcomes of pairs by number, and as estimates with intervals (None without values).

    `score`: the first answer's wins, and half of its ties; `first_position`: the share of verdicts for the answer that
    was shown first, among those for either, 0.5 without position bias; `consistency`: the share of pairs on which both
    orders have the same verdict. Pairs of one group are resampled together. `faults` has the answers without a verdict
    by reason.
    """
    pairs = list(zip(judgements, groups, strict=True))
    outcomes = Counter(one.outcome for one in judgements)
    scored = [(score, group) for one, group in pairs if (score := one.score) is not None]
    chosen = [([one.verdicts.count(A), one.verdicts.count(B)], group) for one, group in pairs]
    decided = [(a, a + b, group) for (a, b), group in chosen if a + b]
    both = [(one.outcome != INCONSISTENT, group) for one, group in pairs if None not in one.verdicts]
    return {
        "pairs": len(judgements),
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        "faults": dict(sorted(Counter(fault for one in judgements for fault in one.faults).items())),
        "score": _ratio([(score, 1, group) for score, group in scored], bootstrap),
        "first_position": _ratio(decided, bootstrap),
        "consistency": _ratio([(same, 1, group) for same, group in both], bootstrap),
    }


def by_length(
    judgements: Sequence[Judgement], comparisons: Sequence[Comparison], bootstrap: Bootstrap
) -> dict[str, Any]:
    """Return what the length of answers has to do with the score, as estimates with intervals (None where not known).

    `longer`: the share of the judged pairs whose first answer has more characters, equal ones as a half, which would be
    the score by length alone. `length_balanced`: the score where, among pairs whose answers differ as much in length,
    those whose first answer is the longer one count, together, as much as those whose first answer is the shorter one
    (equal ones half in each): 0.5 by length alone, also where only a large difference is noticed.
    """
    scored = [
        (score, _difference(one), one.group)
        for judgement, one in zip(judgements, comparisons, strict=True)
        if (score := judgement.score) is not None
    ]
    weights = _weights([difference for _, difference, _ in scored])
    pairs = zip(scored, weights, strict=True) if weights else ()
    balanced = [(score * weight, weight, group) for (score, _, group), weight in pairs]
    longer = [(_longer(difference), 1.0, group) for _, difference, group in scored]
    return {"longer": _ratio(longer, bootstrap), "length_balanced": _ratio(balanced, bootstrap)}


def _difference(comparison: Comparison) -> float:
    """Return the logarithm of how many times the first answer is as long as the second."""
    first, second = (len(answer.strip()) + 1 for answer in (comparison.first, comparison.second))
    return math.log(first / second)


def _longer(difference: float) -> float:
    return (difference > 0) + (difference == 0) / 2


def _weights(differences: Sequence[float]) -> list[float]:
    """Return the weights of pairs by which their score is balanced by length; empty where one side has too few.

    Where the better answer is the longer one, it often is much longer: both sides are balanced among pairs whose
    answers differ as much. These sets are as small as ENOUGH_OF_A_LENGTH of both sides allow.
    """
    sets: list[list[int]] = [[]]
    longer = 0.0
    for at in sorted(range(len(differences)), key=lambda at: -abs(differences[at])):
        sets[-1].append(at)
        longer += _longer(differences[at])
        if min(longer, len(sets[-1]) - longer) >= ENOUGH_OF_A_LENGTH:
            sets.append([])
            longer = 0.0
    *sets, rest = sets
    if not sets:
        return []
    sets[-1] += rest
    weights = [0.0] * len(differences)
    for one in sets:
        longer = sum(_longer(differences[at]) for at in one)
        for at in one:
            share = _longer(differences[at])
            weights[at] = (share * (len(one) - longer) + (1 - share) * longer) / len(one)
    return weights


def _ratio(rows: Sequence[tuple[float, float, Hashable]], bootstrap: Bootstrap) -> dict[str, Any] | None:
    parts, wholes, groups = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return ratio(parts, wholes, bootstrap, groups=groups)
