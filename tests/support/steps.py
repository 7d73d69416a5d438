"""The steps from a dataset's files to its combined dataset, as tables, for tests."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mothertongue.dataset.combine import Counted
from mothertongue.dataset.source_shards import Source
from mothertongue.formats.messages import MESSAGES, SPLITS, read, write
from mothertongue.source.reading import Dataset, read_splits
from mothertongue.source.splits import combine_splits


def fetched(files, dataset=None, validation=0.0):
    """Return the messages of a file, or of lists of files by split, as scripts/fetch.py writes them."""
    dataset = dataset or Dataset()
    files = files if isinstance(files, Mapping) else {"train": [files]}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "fetched.parquet")
        combine_splits(read_splits(files, dataset), dataset, validation, output, Path(folder))
        return read(output, MESSAGES)


def split(messages, shards, scope=None):
    """Return the shards of messages by language, and the counts, as scripts/split.py writes them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(messages, folder / "messages.parquet")
        source = Source("", folder / "messages.parquet", shards)
        source.keep_threads(scope, folder)
        with source.divided(folder) as divided:
            source.write(divided, folder)
        tables = {
            language: [read(folder / language / f"{shard}.parquet", MESSAGES) for shard in range(number)]
            for language, number in shards.items()
        }
        return tables, source.counts({})


def combined(shards, on_flagged="keep"):
    """Return the dataset by split of translated tables, and what was counted, as scripts/combine.py does."""
    counted = Counted()
    table = pa.concat_tables(counted.add(shard, on_flagged) for shard in shards)
    return {split: table.filter(pc.equal(table["split"], split)) for split in SPLITS}, counted
