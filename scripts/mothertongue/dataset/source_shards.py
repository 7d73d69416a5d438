"""The shards of a source, the units of translation: its messages by language and tree, without those left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.common.atomic_files import atomic_file
from mothertongue.dataset.tree_files import columns_of, numbered_trees
from mothertongue.dataset.trees import Message, selections
from mothertongue.formats.messages import MESSAGES, SPLITS, MessageFiles, MessageWriter, parts, shard_of
from mothertongue.formats.partitions import Partitions, partitions_of

Mask = npt.NDArray[np.bool_]
Counts = dict[str, Any]

_LANGUAGE = pa.schema([MESSAGES.field("source_lang")])
_TREE = pa.schema([MESSAGES.field("message_tree_id")])


class Source:
    """The messages of one source, in the file `path`, and those that are left after each reason to leave some out.

    `shards` has the number of shards by language. `left` has for each reason, in order, whether each message is left
    after it; `languages` counts the messages by source language.
    """

    def __init__(self, name: str, path: Path, shards: Mapping[str, int]) -> None:
        self.name, self.path, self.shards = name, path, shards
        self.languages: Counter[str] = Counter()
        masks = []
        for part in parts(path, _LANGUAGE):
            self.languages.update(part["source_lang"].to_pylist())
            masks.append(_is_in(part["source_lang"], shards))
        self.left: dict[str, Mask] = {"language": np.concatenate(masks)}

    @property
    def names(self) -> list[tuple[str, int]]:
        """The shards: languages with numbers."""
        return [(language, shard) for language, number in self.shards.items() for shard in range(number)]

    @property
    def kept(self) -> Mask:
        """Whether each message is to be translated."""
        return next(reversed(self.left.values()))

    def trees(self, folder: Path) -> Iterator[tuple[list[Message], list[int]]]:
        """Yield the trees of the messages that are kept, with the messages' numbers among these.

        `folder` is for temporary files.
        """
        return numbered_trees(self._kept_parts(columns_of(MESSAGES)), partitions_of(self.path), folder)

    def keep_threads(self, how: str | None, folder: Path) -> None:
        """Leave out, as `scope`, the messages that are in no thread of their tree (see trees.select); None keeps all.

        Where no translation fails, those that are kept have the same threads as all messages.
        """
        kept = self.kept.copy()
        if how:
            used = np.zeros(np.count_nonzero(kept), np.bool_)
            one, other = tee(self.trees(folder))
            found = selections((members for members, _ in one), how)
            for selection, (members, numbers) in zip(found, other, strict=True):
                ids = {message.id for message in selection.said()}
                used[[number for message, number in zip(members, numbers, strict=True) if message.id in ids]] = True
            kept[kept] = used
        self.left["scope"] = kept

    def leave_out(self, trees: Iterable[str], reason: str) -> None:
        """Leave out the messages of trees."""
        trees = set(trees)
        kept = np.concatenate([~_is_in(part["message_tree_id"], trees) for part in parts(self.path, _TREE)])
        self.left[reason] = self.kept & kept

    @contextmanager
    def divided(self, folder: Path) -> Iterator[Partitions]:
        """Yield the messages that are kept in partitions, one a shard, in the order of `names`; all are read before.

        `folder` is for temporary files.
        """
        first = {language: self.names.index((language, 0)) for language in self.shards}
        with Partitions(folder / f"shards {self.name}") as divided:
            for part in self._kept_parts(MESSAGES):
                rows = zip(part["source_lang"].to_pylist(), part["message_tree_id"].to_pylist(), strict=True)
                numbers = [first[language] + shard_of(tree, self.shards[language]) for language, tree in rows]
                divided.write(part, np.array(numbers, np.int64))
            yield divided

    def write(self, divided: Partitions, output: Path) -> None:
        """Write the shards, each OUTPUT/LANGUAGE/NUMBER.parquet; all messages of a tree in a language are in one."""
        schema = MessageFiles([self.path], MESSAGES).columns()
        for number, (language, name) in enumerate(self.names):
            path = output / language / f"{name}.parquet"
            with atomic_file(path) as partial, MessageWriter(partial, schema) as file:
                for batch in divided.read(number):
                    file.write(pa.Table.from_batches([batch]))
            divided.remove(number)

    def counts(self, record: Mapping[str, Any]) -> Counts:
        """Return, by split and source language, the numbers of all messages and of those left out, by reason.

        Where the source's rows were conversations, `reading` has what became of these, from the record of fetching.
        """
        messages: Counter[tuple[str, str]] = Counter()
        after: dict[str, Counter[tuple[str, str]]] = {reason: Counter() for reason in self.left}
        row = 0
        for part in parts(self.path, pa.schema([MESSAGES.field("split"), MESSAGES.field("source_lang")])):
            pairs = list(zip(part["split"].to_pylist(), part["source_lang"].to_pylist(), strict=True))
            messages.update(pairs)
            for reason, kept in self.left.items():
                mask = kept[row : row + len(part)]
                after[reason].update(pair for pair, left in zip(pairs, mask.tolist(), strict=True) if left)
            row += len(part)
        counts: Counts = {split: {} for split in SPLITS}
        for (split, language), number in sorted(messages.items()):
            excluded, before = {}, number
            for reason, counted in after.items():
                excluded[reason] = before - counted[split, language]
                before = counted[split, language]
            counts[split][language] = {"messages": number, "excluded_because": excluded}
        reading = record.get("reading", {})
        return counts | ({"reading": reading} if "rows" in reading else {})

    def _kept_parts(self, schema: pa.Schema) -> Iterator[pa.Table]:
        row = 0
        for part in parts(self.path, schema):
            yield part.filter(pa.array(self.kept[row : row + len(part)]))
            row += len(part)


def _is_in(column: pa.ChunkedArray, values: Iterable[str]) -> Mask:
    return pc.is_in(column, pa.array(values, pa.string())).to_numpy()  # type: ignore[no-any-return]
