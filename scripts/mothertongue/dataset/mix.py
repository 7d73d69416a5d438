"""The mix of the threads that a model is trained on: shares of the assistant's tokens, and replay of other languages.

Replayed conversations are in their original language, and keep what a model could before: training on one language
alone costs others (catastrophic forgetting; Scialom et al., 2022, arXiv:2205.12393, keep them with 1% of replay).
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.dataset import trees
from mothertongue.dataset.thread_rows import are_native, message_ids
from mothertongue.formats.messages import SOURCE, draw_key

NATIVE, TRANSLATED, REPLAY = "native", "translated", "replay"
# The group of all threads where no shares are given.
ALL = "all"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Counted:
    """A thread with the number of the assistant's tokens in it."""

    row: Row
    tokens: int

    @property
    def name(self) -> str:
        """What the thread is drawn by."""
        return str(self.row["thread_id"])


@dataclass
class Group:
    """The threads of a group, the share of the tokens that is asked of it, and those drawn, with repetitions."""

    threads: list[Counted]
    asked: float
    drawn: list[Counted] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """The tokens of its threads, each once."""
        return sum(thread.tokens for thread in self.threads)

    def as_json(self, all_tokens: int) -> dict[str, Any]:
        """Return what became of the group, of so many tokens in all groups."""
        used = sum(thread.tokens for thread in self.drawn)
        different = len({thread.name for thread in self.drawn})
        return {
            "asked": self.asked,
            "share": used / all_tokens if all_tokens else 0.0,
            "tokens": used,
            "threads": len(self.drawn),
            "different_threads": different,
            "left_out_threads": len(self.threads) - different,
            "tokens_there": self.tokens,
        }


def group_names(threads: Iterable[Row], dataset: pa.Table, shares: Mapping[str, float]) -> list[str | None]:
    """Return the group of each thread: its source, or native or translated, as the shares name them.

    A thread is native where all its messages are. It is None where no share is asked of the thread's group. Raise
    UserError where shares are of both kinds, or of a source that is not there.
    """
    kinds = {NATIVE, TRANSLATED} & shares.keys()
    if kinds and shares.keys() - kinds:
        raise UserError("mix.shares: either of sources, or of native and translated")
    if not shares:
        return [ALL for _ in threads]
    if kinds:
        found = [NATIVE if native else TRANSLATED for native in are_native(threads, dataset)]
    else:
        if SOURCE.name not in dataset.column_names:
            raise UserError(f"mix.shares: {', '.join(shares)}: there is one source; name several in sources")
        columns = (dataset[name].to_pylist() for name in ("message_id", SOURCE.name))
        source = dict(zip(*columns, strict=True))
        found = [source.get(next(iter(message_ids(row))), "") for row in threads]
        if unknown := sorted(shares.keys() - set(source.values())):
            raise UserError(
                f"mix.shares: no source '{unknown[0]}' (there are {', '.join(sorted(set(source.values())))})"
            )
    return [name if name in shares else None for name in found]


def originals(dataset: pa.Table, lang: str, left_out: Container[str]) -> list[list[trees.Message]]:
    """Return the best threads of the messages from a source language, in their original text.

    Trees of `left_out` have none. Raise UserError where the language is the target.
    """
    if len(dataset) and dataset["lang"][0].as_py() == lang:
        raise UserError(f"mix.replay.languages: {lang} is the target language; name others")
    messages = [message for message in trees.originals(dataset, lang) if message.tree not in left_out]
    return trees.select(messages).threads


def draw(groups: Mapping[str, Group], repeat: float, seed: int, replay: Group | None = None) -> list[str]:
    """Draw the threads of each group by its share, and those to replay; return what could not be met, as lines.

    The group that has the fewest tokens for its share is repeated, at most `repeat` times, so that the one that has the
    most is used whole; where that is not enough, the others are cut. Each group has its share to within one thread.
    `asked` of the replay is its share of all tokens. The threads depend on the seed and their ids alone.
    """
    said = []
    there = {name: group for name, group in groups.items() if group.tokens and group.asked}
    said += [f"there is no thread of {name}" for name, group in groups.items() if group.asked and not group.tokens]
    asked = sum(group.asked for group in there.values())
    wanted = {name: group.tokens * asked / group.asked for name, group in there.items()}
    total = min(max(wanted.values(), default=0.0), repeat * min(wanted.values(), default=0.0))
    for name, group in there.items():
        group.drawn = _drawn(group, total * group.asked / asked, seed)
        if repeat * wanted[name] <= total and wanted[name] < max(wanted.values()):
            said.append(f"{name} is repeated {repeat:g} times, and the others are cut")
    if replay and replay.asked:
        target = total * replay.asked / (1 - replay.asked)
        most = min(target, repeat * replay.tokens)
        replay.drawn = _drawn(replay, most, seed)
        if not replay.tokens:
            said.append("there is no thread to replay")
        elif most < target:
            said.append(f"replay is repeated {repeat:g} times, and still less than its share")
        elif not replay.drawn:
            said.append("the share of replay is less than half of any thread, and nothing is replayed")
    return said


def rows_of(groups: Iterable[Group], seed: int) -> list[Row]:
    """Return the drawn threads of all groups in an order that the seed decides; repetitions have numbered ids."""
    rows: list[Row] = []
    times: dict[str, int] = {}
    for group in groups:
        for thread in group.drawn:
            times[thread.name] = number = times.get(thread.name, 0) + 1
            rows.append(thread.row if number == 1 else {**thread.row, "thread_id": f"{thread.name}#{number}"})
    return sorted(rows, key=lambda row: draw_key(row["thread_id"], seed))


def _drawn(group: Group, target: float, seed: int) -> list[Counted]:
    """Return threads with about so many tokens: all of them as often as they fit, then some more."""
    ordered = sorted((thread for thread in group.threads if thread.tokens), key=lambda one: draw_key(one.name, seed))
    whole = int(target // group.tokens) if group.tokens else 0
    drawn, rest = ordered * whole, target - whole * group.tokens
    for thread in ordered:
        if thread.tokens <= 2 * rest:  # nearer to the target with it than without
            drawn.append(thread)
            rest -= thread.tokens
    return drawn
