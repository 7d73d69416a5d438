"""Evaluation prompts in training data: a model that has read the question is not measured by it.

Method: Brown et al., "Language Models are Few-Shot Learners", 2020 (arXiv:2005.14165), appendix C: texts that share a
13-gram of words.
"""

import argparse
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from mothertongue.common.atomic_files import read_lines, scratch_beside
from mothertongue.dataset import trees
from mothertongue.dataset.ngrams import ngrams, words
from mothertongue.dataset.tree_files import trees_of
from mothertongue.dataset.trees import Message
from mothertongue.formats.messages import TRANSLATED

_WORDS = 13
# The outcome of what holds a question.
CONTAMINATED = "contaminated"


class Account(Protocol):
    """What became of trees: their threads, or their pairs of replies."""

    def said(self) -> Iterable[Message]:
        """Yield the messages that are trained on."""

    def count(self, other: Self) -> None:
        """Add the account of other trees."""

    def left_out(self, reason: str) -> Self:
        """Return the account without what is trained on, which is counted by the reason."""


_Account = TypeVar("_Account", bound=Account)


class Questions:
    """Questions by each of their 13-grams of words; shorter ones by all their words.

    A short question is only held by a text that has no other words. Of each run of words only a hash is kept, with the
    number of its question: 16 bytes a run.
    """

    def __init__(self, texts: Iterable[str], long: Iterable[str] = ()) -> None:
        """Take the questions of texts; of those of `long`, only such that have a 13-gram."""
        self._texts: list[str] = []
        hashes, numbers = array("q"), array("q")
        for text, of_any_length in chain(((text, True) for text in texts), ((text, False) for text in long)):
            found = words(text)
            if len(found) >= _WORDS or (found and of_any_length):
                runs = list(ngrams(found, _WORDS))
                hashes.extend(map(hash, runs))
                numbers.extend([len(self._texts)] * len(runs))
                self._texts.append(text)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers = np.asarray(hashes)[order], np.asarray(numbers)[order]

    def __bool__(self) -> bool:
        return bool(self._texts)

    def within(self, text: str) -> Iterator[str]:
        """Yield the questions that a text holds, in order."""
        runs = set(ngrams(words(text), _WORDS))
        hashes = list(map(hash, runs))
        places = (np.searchsorted(self._hashes, hashes, side) for side in ("left", "right"))
        numbers = {number for start, end in zip(*places, strict=True) for number in self._numbers[start:end]}
        alike = sorted(self._texts[number] for number in numbers)
        # Different runs may have the same hash.
        return (question for question in alike if not runs.isdisjoint(ngrams(words(question), _WORDS)))

    def held_by(self, messages: Iterable[Message]) -> str | None:
        """Return the first question that one of the messages holds; None where none does."""
        if not self:
            return None
        texts = {message.id: message.text or "" for message in messages}.values()
        # All at once, in order, which is faster; most trees hold no question.
        hashes = np.sort(np.array([hash(run) for text in texts for run in ngrams(words(text), _WORDS)], np.int64))
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        if not np.any(self._hashes[places] == hashes):
            return None
        return next((question for text in texts for question in self.within(text)), None)

    def checked(self, accounts: Iterable[_Account], total: _Account, held: dict[str, str]) -> Iterator[_Account]:
        """Yield accounts of trees, without what is trained on of each that holds a question; add them to `total`.

        Add these trees to `held`, each with the question.
        """
        for account in accounts:
            if question := self.held_by(account.said()):
                held[next(iter(account.said())).tree] = question
                account = account.left_out(CONTAMINATED)
            total.count(account)
            yield account


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for what is measured, and training must not hold."""
    group = parser.add_argument_group("evaluation prompts that conversations must not hold (default: none)")
    group.add_argument("--held-out", type=Path, help="validation split, whose threads' first questions are prompts")
    group.add_argument("--prompts", type=Path, help="text file with a prompt in each line")
    group.add_argument("--benchmarks", type=Path, help="folder of data that scripts/fetch_benchmarks.py wrote")


def questions(arguments: argparse.Namespace) -> Questions:
    """Return the questions that the arguments name."""
    texts: list[str] = []
    if arguments.held_out:
        with scratch_beside(arguments.output) as folder:
            for selection in trees.selections(trees_of(arguments.held_out, TRANSLATED, folder)):
                texts += [next(m for m in thread if m.role == "prompter").text or "" for thread in selection.threads]
    if arguments.prompts:
        texts += read_lines(arguments.prompts)
    return Questions(texts, _benchmark_texts(arguments.benchmarks) if arguments.benchmarks else ())


def _benchmark_texts(folder: Path) -> Iterator[str]:
    """Yield all texts of the test and validation splits of benchmarks."""
    import datasets

    for path in sorted(file.parent for file in folder.glob("*/dataset_dict.json")):
        for split, table in datasets.load_from_disk(path).items():
            if split != "train":
                yield from _texts(table.to_list())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
