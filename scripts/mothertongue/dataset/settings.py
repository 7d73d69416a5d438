"""The settings of datasets, threads and preferences: arguments of scripts, and keys of the configuration."""

from dataclasses import dataclass
from typing import Literal

from mothertongue.common.settings import setting


@dataclass(frozen=True)
class FlaggedSettings:
    """The handling of translations that fail a quality check."""

    on_flagged: Literal["keep", "drop"] = setting(
        "keep", "whether translations that a quality check objects to stay in the dataset",
        manual="`drop` leaves flagged messages out of the dataset; `accounting.json` still counts them",
    )  # fmt: skip


@dataclass(frozen=True)
class ReviewSettings:
    """The messages of a review sheet."""

    sample: int = setting(
        200, "translations drawn at random: their verdicts give the share of wrong translations", at_least=0,
    )  # fmt: skip
    flagged: int = setting(200, "maximum number of flagged and failed messages, in addition to the sample", at_least=0)
    seed: int = setting(42, "which messages are drawn", at_least=0)


@dataclass(frozen=True)
class ThreadSettings:
    """The selection of threads."""

    select: Literal["best", "all"] = setting(
        "best", "best: one thread a tree; all: one for every branch that prompters opened",
        manual="`best`: one thread for each tree, at each step the best-ranked usable reply; `all`: one for every "
        "branch that users opened",
    )  # fmt: skip


@dataclass(frozen=True)
class PreferenceSettings:
    """The selection of preference pairs."""

    pairs: Literal["best_vs_worst", "best_vs_all"] = setting(
        "best_vs_worst", "best_vs_worst: the best and the worst reply to each message of a user; best_vs_all: the best "
        "and each that was ranked below it",
        manual="which replies are compared ([more](../stages/threads.md#preferences)): `best_vs_worst`: the "
        "best and the worst to each message of a user, one pair; `best_vs_all`: the best and each that was ranked "
        "below it",
    )  # fmt: skip


@dataclass(frozen=True)
class MixSettings:
    """How threads are drawn for training."""

    repeat: float = setting(4.0, "maximum number of times that a thread is repeated to reach a share", at_least=1)
    seed: int = setting(42, "which threads are drawn, and their order", at_least=0)
