"""Evaluation prompts in training data: a model that has read the question is not measured by it.

Method: Brown et al., "Language Models are Few-Shot Learners", 2020 (arXiv:2005.14165), appendix C: texts that share a
13-gram of words.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
    """Questions by their 13-grams of words, of those that share one the first; shorter ones by all their words.

    A short question is only held by a text that has no other words.
    """

    runs: Mapping[str, str]
    short: Mapping[str, str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Questions":
        """Return the questions of texts."""
        runs: dict[str, str] = {}
        short: dict[str, str] = {}
        for text in texts:
            found = words(text)
            if len(found) < _WORDS:
                short.setdefault(" ".join(found), text)
            else:
                runs |= {run: text for run in ngrams(found, _WORDS) if run not in runs}
        short.pop("", None)
        return cls(runs, short)

    def within(self, text: str) -> set[str]:
        """Return the questions that a text holds."""
        found = words(text)
        if len(found) < _WORDS:
            return {self.short[whole]} if (whole := " ".join(found)) in self.short else set()
        return {self.runs[run] for run in ngrams(found, _WORDS) if run in self.runs}

    def held_by(self, messages: Iterable[Message]) -> dict[str, str]:
        """Return the trees of which a message holds a question, each with the first one."""
        found: dict[str, str] = {}
        for message in messages:
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
    if arguments.benchmarks:
        texts += _benchmark_texts(arguments.benchmarks)
    return Questions.of(texts)


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
