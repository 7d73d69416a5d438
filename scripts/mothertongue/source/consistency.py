"""What must hold over all messages of a dataset: ids, parents, trees and splits."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pyarrow as pa

from mothertongue.common.errors import UserError
from mothertongue.common.progress import first, log
from mothertongue.formats.partitions import Partitions, buckets

# Trees without a root that are named.
_NAMED = 3


@dataclass
class _Tree:
    """A tree: the number of its first message, its splits, and its messages with their parents and numbers."""

    first: int
    splits: set[str] = field(default_factory=set)
    parents: dict[str, tuple[str | None, int]] = field(default_factory=dict)


class Consistency:
    """Checks the messages of a dataset, which are too many for memory, in `count` partitions.

    `name` is the dataset's name in messages, `place` returns the file and the row of a message by its number, and
    `own_id` an id as the dataset has it.
    """

    def __init__(
        self, folder: Path, count: int, name: str, place: Callable[[int], tuple[str, str]], own_id: Callable[[str], str]
    ) -> None:
        self._by_id, self._by_tree = Partitions(folder / "ids"), Partitions(folder / "trees")
        self._count, self._name, self._place, self._own_id = count, name, place, own_id
        self.messages = self.trees = 0

    def __enter__(self) -> Self:
        self._by_id.__enter__()
        self._by_tree.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._by_id.__exit__(*error)
        self._by_tree.__exit__(*error)

    def see(self, table: pa.Table) -> None:
        """Add the next messages."""
        numbers = pa.array(range(self.messages, self.messages + len(table)), pa.int64())
        self.messages += len(table)
        message, parent, tree = (table[name] for name in ("message_id", "parent_id", "message_tree_id"))
        # Each message by its id, and each reply by that of its parent.
        links = {"key": message, "reply": pa.array([False] * len(table)), "id": message, "tree": tree, "row": numbers}
        replies = pa.table(links | {"key": parent, "reply": pa.array([True] * len(table))}).filter(parent.is_valid())
        for some in (pa.table(links), replies):
            self._by_id.write(some, buckets(some["key"].to_pylist(), self._count))
        members = {"tree": tree, "id": message, "parent": parent, "split": table["split"], "row": numbers}
        self._by_tree.write(pa.table(members), buckets(tree.to_pylist(), self._count))

    def check(self) -> None:
        """Log what may be wrong, and count the trees.

        Raise UserError where a message_id is used twice, a message is in another tree than its parent, or its own
        ancestor, a tree is in two splits, no tree has a root, and where there are replies but no parent of any.
        """
        lost, replies, example = self._check_links()
        self._check_trees()
        if not lost:
            return
        _, message, parent = example
        named = f"{first([repr(message)])} has {first([repr(parent)])}"
        if lost == replies:
            raise UserError(
                f"{self._name}: no parent_id of its {lost:,} replies is the message_id of a message ({named}); "
                "they must be written alike"
            )
        log(
            f"fetch: warning: the parent_id of {lost:,} of {replies:,} replies is not a message_id of the dataset, and "
            f"so these are in no thread: {named}{', ...' if lost > 1 else ''}"
        )

    def _check_links(self) -> tuple[int, int, tuple[int, str, str]]:
        """Return the replies without a parent in the dataset, all replies, and the first without one."""
        twice: list[tuple[int, int, str]] = []
        elsewhere: list[tuple[int, str, str]] = []
        lost: list[tuple[int, str, str]] = []
        without = all_ = 0
        for number in range(self._count):
            known: dict[str, tuple[int, str]] = {}
            replies: list[tuple[str, str, str, int]] = []
            for batch in self._by_id.read(number):
                for key, reply, message, tree, row in zip(*(column.to_pylist() for column in batch), strict=True):
                    if reply:
                        replies.append((key, message, tree, row))
                    elif key in known:
                        twice = [min([*twice, (row, known[key][0], key)])]
                    else:
                        known[key] = row, tree
            all_ += len(replies)
            for parent, message, tree, row in replies:
                if parent not in known:
                    without += 1
                    lost = [min([*lost, (row, message, parent)])]
                elif known[parent][1] != tree:
                    elsewhere = [min([*elsewhere, (row, message, parent)])]
        for row, earlier, message in twice:
            (file, here), (other, before) = self._place(row), self._place(earlier)
            before = before if file == other else f"{other}: {before}"
            raise UserError(f"{file}: {here}: message_id {self._own_id(message)} was used before, in {before}")
        for row, message, parent in elsewhere:
            message, parent = self._own_id(message), self._own_id(parent)
            raise UserError(f"{self._where(row)}: message_tree_id of {message} is not that of its parent {parent}")
        return without, all_, lost[0] if lost else (0, "", "")

    def _check_trees(self) -> None:
        """Check splits, roots and ancestors."""
        cycles: list[tuple[int, int, str]] = []
        divided: list[tuple[int, str]] = []
        rootless: list[tuple[int, str]] = []
        lost = 0
        for number in range(self._count):
            for tree, found in self._trees(number).items():
                self.trees += 1
                if all(parent is not None for parent, _ in found.parents.values()):
                    lost += 1
                    rootless = heapq.nsmallest(_NAMED, [*rootless, (found.first, tree)])
                if len(found.splits) > 1:
                    divided = [min([*divided, (found.first, tree)])]
                if message := _own_ancestor(found.parents):
                    cycles = [min([*cycles, (found.first, found.parents[message][1], message)])]
        for _, row, message in cycles:
            where = self._where(row)
            raise UserError(f"{where}: message {self._own_id(message)} is its own ancestor (parent_id cycle)")
        for _, tree in divided:
            raise UserError(f"{self._name}: tree {tree} stands in the train and in the validation split")
        if lost == self.trees:
            raise UserError(
                f"{self._name}: none of {lost:,} trees has a root: the first message of a tree has parent_id null"
            )
        if lost:
            more = f" and {lost - _NAMED:,} more" if lost > _NAMED else ""
            log(
                f"fetch: warning: {lost:,} of {self.trees:,} trees have no root (a message whose parent_id is null) "
                f"and so no thread: {first([repr(tree) for _, tree in rootless])}{more}"
            )

    def _trees(self, number: int) -> Mapping[str, _Tree]:
        """Return the trees of a partition."""
        trees: dict[str, _Tree] = {}
        for batch in self._by_tree.read(number):
            for tree, message, parent, split, row in zip(*(column.to_pylist() for column in batch), strict=True):
                found = trees.get(tree) or trees.setdefault(tree, _Tree(row))
                found.splits.add(split)
                found.parents[message] = parent, row
        return trees

    def _where(self, row: int) -> str:
        return ": ".join(self._place(row))


def _own_ancestor(parents: Mapping[str, tuple[str | None, int]]) -> str | None:
    """Return the first message that is its own ancestor, of messages with their parents; None where none is."""
    sound: set[str] = set()
    for message in parents:
        path: dict[str, None] = {}
        node: str | None = message
        while node is not None and node in parents and node not in sound:
            if node in path:
                return node
            path[node] = None
            node = parents[node][0]
        sound.update(path)
    return None
