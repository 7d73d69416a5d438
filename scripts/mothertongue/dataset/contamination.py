"""Evaluation prompts in training data: a model that has read the question is not measured by it.

Method: Brown et al., "Language Models are Few-Shot Learners", 2020 (arXiv:2005.14165), appendix C: texts that share a
13-gram of words.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_lines
from mothertongue.dataset import trees
from mothertongue.dataset.ngrams import ngrams, words
from mothertongue.dataset.trees import Message
from mothertongue.formats.messages import TRANSLATED, read

_WORDS = 13


@dataclass(frozen=True)
class Questions:
    """Questions by each of their 13-grams of words; shorter ones by all their words.

    A short question is only held by a text that has no other words.
    """

    runs: Mapping[str, Set[str]]
    short: Mapping[str, Set[str]]

    @classmethod
    def of(cls, texts: Iterable[str], long: Iterable[str] = ()) -> "Questions":
        """Return the questions of texts; of those of `long`, only such that have a 13-gram."""
        runs: dict[str, set[str]] = defaultdict(set)
        short: dict[str, set[str]] = defaultdict(set)
        for text, of_any_length in chain(((text, True) for text in texts), ((text, False) for text in long)):
            found = words(text)
            if len(found) >= _WORDS:
                for run in ngrams(found, _WORDS):
                    runs[run].add(text)
            elif found and of_any_length:
                short[" ".join(found)].add(text)
        return cls(dict(runs), dict(short))

    def within(self, text: str) -> set[str]:
        """Return the questions that a text holds."""
        found = words(text)
        if len(found) < _WORDS:
            return set(self.short.get(" ".join(found), ()))
        return {question for run in ngrams(found, _WORDS) for question in self.runs.get(run, ())}

    def held_by(self, messages: Iterable[Message]) -> dict[str, str]:
        """Return the trees of which a message holds a question, each with the first one."""
        found: dict[str, str] = {}
        for message in messages if self.runs or self.short else ():
            if message.tree not in found and (held := self.within(message.text or "")):
                found[message.tree] = min(held)
        return found


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
        threads = trees.select(trees.from_table(read(arguments.held_out, TRANSLATED))).threads
        texts += [next(message for message in thread if message.role == "prompter").text or "" for thread in threads]
    if arguments.prompts:
        texts += read_lines(arguments.prompts)
    return Questions.of(texts, _benchmark_texts(arguments.benchmarks) if arguments.benchmarks else ())


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
