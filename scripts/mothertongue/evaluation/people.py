"""People's votes on the answers of an adapter and its base model, which scripts/serve.py keeps."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mothertongue.evaluation.bootstrap import Bootstrap, ratio
from mothertongue.formats.votes import BOTH_BAD, SIDES, TIE, Vote

_ADAPTER, _BASE = SIDES
_SCORES = {_ADAPTER: 1.0, _BASE: 0.0, TIE: 0.5, BOTH_BAD: 0.5}


def figures(votes: Sequence[Vote], weights: str, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the votes on an adapter whose weights have the SHA-256 `weights`, as numbers and estimates.

    Only blind votes, before which nobody could see the sides' names, count: `score` is the share of the adapter's wins,
    with half of the ties, `first_position` the share of the left answers among those that were chosen, 0.5 without
    position bias (None without values). Votes of one conversation are resampled together. `open` are the other votes,
    `other_weights` those on an adapter that has been tuned again since.
    """
    own = [vote for vote in votes if vote.adapter and weights.startswith(vote.adapter)]
    blind = [vote for vote in own if vote.blind]
    groups = [_opening(vote) for vote in blind]
    decided = [vote for vote in blind if vote.vote in SIDES]
    counts = Counter(vote.vote for vote in blind)
    return {
        "blind": len(blind),
        "wins": counts[_ADAPTER],
        "losses": counts[_BASE],
        "ties": counts[TIE],
        "both_bad": counts[BOTH_BAD],
        "open": len(own) - len(blind),
        "other_weights": len(votes) - len(own),
        "score": ratio([_SCORES[vote.vote] for vote in blind], [1.0] * len(blind), bootstrap, groups=groups),
        "first_position": ratio(
            [float(vote.vote == vote.left) for vote in decided],
            [1.0] * len(decided),
            bootstrap,
            groups=[_opening(vote) for vote in decided],
        ),
    }


def _opening(vote: Vote) -> str:
    """Return the first question of a vote's conversation."""
    return next(turn["content"] for turn in vote.messages if turn["role"] == "user")
