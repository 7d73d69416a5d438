"""Whether a judge can judge a language: its agreement with the ranks that people gave to replies.

Of each message of a user the reply that people ranked best is compared with the one that they ranked worst; replies of
neighbouring ranks differ by little, and people themselves disagree about them. A judge that chooses at random, or by
position, agrees in half of the comparisons. One that prefers the longer reply agrees in more, since people often do:
it agrees in half of them where the pairs with the longer and with the shorter better reply count alike, among those
whose replies differ as much in length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from mothertongue.common.languages import ENGLISH as ENGLISH_CODE
from mothertongue.dataset import trees
from mothertongue.dataset.preferences import PreferencePair, preferences
from mothertongue.dataset.trees import Message
from mothertongue.evaluation.comparisons import ENOUGH_OF_A_LENGTH, Comparison
from mothertongue.evaluation.estimate import find
from mothertongue.evaluation.held_out import ENGLISH, NATIVE, TRANSLATED
from mothertongue.evaluation.judged import ENOUGH_DECIDED
from mothertongue.formats.messages import TEACHER, draw_key

# The fewest comparisons that tell something, and the fewest trees that they are from.
ENOUGH = ENOUGH_TREES = 30
_CHANCE = 0.5


def ranked_pairs(dataset: pa.Table, lang: str) -> dict[str, list[Comparison]]:
    """Return the best and the worst reply to each message of a user, as people ranked them, by group.

    The groups are `native` (all messages were written in the language), `translated` (without what a check flagged),
    nor what a teacher wrote, which has the rank of the reply that it replaced), and `english` (the same messages before
    translation); the first answer of each pair is the better one.
    """
    messages = trees.from_table(dataset)
    native = [message for message in messages if message.status == NATIVE]
    others = [_usable(message) for message in messages if message.status != NATIVE]
    english = native if lang == ENGLISH_CODE else trees.originals(dataset, ENGLISH_CODE)
    return {kind: _pairs(some) for kind, some in ((NATIVE, native), (TRANSLATED, others), (ENGLISH, english))}


def deciding(found: Mapping[str, Sequence[Comparison]]) -> str | None:
    """Return the group that decides: native pairs where there are enough, else translated ones; None without enough."""
    return next((kind for kind in (NATIVE, TRANSLATED) if _enough(found[kind])), None)


def draw(pairs: Sequence[Comparison], count: int, seed: int) -> list[Comparison]:
    """Return at most `count` pairs, drawn by the seed; of translated messages and of their originals the same."""
    return sorted(pairs, key=lambda pair: draw_key(pair.name, seed))[:count]


def objection(group: str | None, found: Mapping[str, int], figures: Mapping[str, Any], name: str) -> str | None:
    """Return why the judge is not known to judge a language (`name`); None where it is.

    `group` is the deciding one, `found` the number of pairs of each, `figures` those of the deciding one (see
    comparisons.figures and by_length).
    """
    if group is None:
        return (
            f"whether it can judge {name} is not known: {ENOUGH} pairs of replies that people ranked, of "
            f"{ENOUGH_TREES} conversations, are needed, and the dataset has {found[NATIVE]:,} native and "
            f"{found[TRANSLATED]:,} translated ones"
        )
    agreement = find(figures, "score")
    if agreement is None or agreement.n is None or agreement.n < ENOUGH:
        read = (agreement.n if agreement else 0) or 0
        faults = max(figures["faults"], key=lambda fault: figures["faults"][fault], default="too long")
        return (
            f"whether it can judge {name} is not known: it gave a verdict on {read:,} of {figures['pairs']:,} "
            f"{group} pairs of replies that people ranked, and {ENOUGH} are needed (most of the others: {faults})"
        )
    if (agreement.groups or agreement.n) < ENOUGH_TREES:
        return (
            f"whether it can judge {name} is not known: its verdicts on {group} pairs of replies that people ranked "
            f"are of {agreement.groups} conversations, and {ENOUGH_TREES} are needed"
        )
    decided = figures["wins"] + figures["losses"]
    if agreement.low is not None and agreement.low > _CHANCE and decided < ENOUGH_DECIDED:
        return (
            f"whether it can judge {name} is not known: it preferred the same answer in both orders in {decided:,} of "
            f"{agreement.n:,} {group} pairs of replies that people ranked, and {ENOUGH_DECIDED} are needed"
        )
    if agreement.low is None or agreement.low <= _CHANCE:
        return (
            f"it cannot judge {name}: on {group} replies it agrees with people's ranks in "
            f"{agreement.share(sized=True)}, which is not better than chance (50%)"
        )
    balanced = find(figures, "length_balanced")
    if balanced is None:
        return (
            f"whether it can judge {name} is not known: of the {agreement.n:,} {group} pairs of replies that people "
            f"ranked, {ENOUGH_OF_A_LENGTH} with a longer better reply and {ENOUGH_OF_A_LENGTH} with a shorter one are "
            "needed, to tell it from one that prefers the longer"
        )
    if balanced.low is None or balanced.low <= _CHANCE:
        return (
            f"it cannot judge {name}: on {group} replies it agrees with people's ranks in "
            f"{agreement.share(sized=True)}, but where longer and shorter better replies count alike in "
            f"{balanced.share()}, which is not better than a choice by length (50%)"
        )
    return None


def _enough(pairs: Sequence[Comparison]) -> bool:
    return len(pairs) >= ENOUGH and len({pair.group for pair in pairs}) >= ENOUGH_TREES


def _usable(message: Message) -> Message:
    """Return a message that is left out, with what is below it, where people ranked another text or a check objects."""
    return replace(message, status="failed") if message.status == "flagged" or message.route == TEACHER else message


def _pairs(messages: Sequence[Message]) -> list[Comparison]:
    return [_comparison(pair) for one in preferences(trees.by_tree(messages).values()) for pair in one.pairs]


def _comparison(pair: PreferencePair) -> Comparison:
    turns = tuple(message.turn for message in pair.prompt)
    return Comparison(turns, pair.chosen.text or "", pair.rejected.text or "", pair.chosen.tree, pair.prompt[-1].id)
