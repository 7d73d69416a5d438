"""The messages of all files of a dataset as one file, and what must hold over all of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mothertongue.common.languages import language_of
from mothertongue.common.progress import first, log
from mothertongue.formats.messages import MESSAGES, OASST, SOURCE, MessageWriter, is_validation
from mothertongue.formats.parquet import by_row_group, read_row
from mothertongue.formats.partitions import partitions_of
from mothertongue.source.consistency import Consistency
from mothertongue.source.reading import FILE, LINE, SPLIT, STAGED, Dataset

# Values that programs write for a missing parent.
_NO_PARENT = pa.array(["", "none", "nan", "null", "<na>"])
_IDS = ("message_id", "parent_id", "message_tree_id")


def combine_splits(
    messages: Iterable[pa.Table], dataset: Dataset, validation: float, output: Path, folder: Path
) -> tuple[int, int]:
    """Write messages (see reading.read_splits) to a file with `split` and `source_lang`; return its messages and trees.

    Where the dataset is one of several, ids begin with its name, and the column `source` has it. Where there is no
    validation split, take the share `validation` (0 to 1) of the trees, chosen by hash. Parents in _NO_PARENT are read
    as null. Raise UserError where something does not hold over all files; see `Consistency.check`. `folder` is for
    temporary files.
    """
    staged, parents, splits = folder / "messages.parquet", _Parents(), set[str]()
    with MessageWriter(staged, STAGED) as file:
        for part in messages:
            parents.see(part)
            splits.update(pc.unique(part[SPLIT.name]).to_pylist())
            file.write(part)
    missing = parents.missing(dataset)
    share = None if "validation" in splits else validation
    schema = MESSAGES.append(SOURCE) if dataset.name else MESSAGES
    with MessageWriter(output, schema) as file, _consistency(dataset, staged, folder) as consistency:
        for part in (pa.Table.from_batches([batch]) for batch in by_row_group(pq.ParquetFile(staged))):
            columns = _columns(_with_roots(part, missing), dataset, share)
            table = pa.table([columns[name] for name in schema.names], schema=schema)
            consistency.see(table)
            file.write(table)
        consistency.check()
    return consistency.messages, consistency.trees


def _columns(part: pa.Table, dataset: Dataset, validation: float | None) -> dict[str, Any]:
    """Return the columns of messages as a dataset has them; `validation` is a share, or None for their own splits."""
    columns = {name: part[name] for name in part.column_names}
    if dataset.name:
        for name in _IDS:
            columns[name] = pc.binary_join_element_wise(pa.scalar(dataset.name), columns[name], ":")
        columns[SOURCE.name] = pa.array([dataset.name] * len(part))
    columns["lang"] = dataset.languages.settled(columns["lang"])
    columns["source_lang"] = _array(map(language_of, columns["lang"].to_pylist()))
    if validation is not None:
        trees = columns["message_tree_id"].to_pylist()
        columns["split"] = _array("validation" if is_validation(tree, validation) else "train" for tree in trees)
    return columns


def _consistency(dataset: Dataset, staged: Path, folder: Path) -> Consistency:
    """Return the checks of a dataset's messages, of which `staged` has the places."""
    prefix = f"{dataset.name}:" if dataset.name else ""

    def place(row: int) -> tuple[str, str]:
        found = read_row(staged, row, [FILE.name, LINE.name])
        path, unit = dataset.files[found[FILE.name]]
        return str(path), f"{unit} {found[LINE.name]}"

    name = f"sources.{dataset.name}.dataset" if dataset.name else "source.dataset"
    return Consistency(folder, partitions_of(staged), name, place, own_id=lambda id_: id_.removeprefix(prefix))


def _array(values: Iterable[str]) -> pa.Array:
    return pa.array(values, pa.string())


@dataclass
class _Parents:
    """The values of `_NO_PARENT` in the files of a dataset: as parents, with their counts, and as ids of messages."""

    written: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ids: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    def see(self, part: pa.Table) -> None:
        """Count the values in messages of one file."""
        if not len(part):
            return
        file = part[FILE.name][0].as_py()
        for column, add in (("parent_id", self.written[file].update), ("message_id", self.ids[file].update)):
            add(part[column].filter(_is_none(part[column])).to_pylist())

    def missing(self, dataset: Dataset) -> dict[int, pa.Array]:
        """Return the values that are read as null by the number of their file, and log them.

        A message may have such an id: then none of the file is.
        """
        found = {}
        for number, counts in self.written.items():
            if counts and not self.ids[number] & counts.keys():
                found[number] = _array(counts)
                written = first(list(map(repr, sorted(counts))))
                where, _ = dataset.files[number]
                log(f"fetch: {where}: parent_id of {counts.total():,} messages is read as null, was {written}")
        return found


def _is_none(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(column)), _NO_PARENT)


def _with_roots(part: pa.Table, missing: Mapping[int, pa.Array]) -> pa.Table:
    """Return messages with these parents, by file, as null."""
    parents = part["parent_id"]
    for number, values in missing.items():
        none = pc.and_(pc.equal(part[FILE.name], number), pc.is_in(parents, values))
        parents = pc.if_else(none, pa.scalar(None, pa.string()), parents)
    return part.set_column(part.column_names.index("parent_id"), OASST.field("parent_id"), parents)
