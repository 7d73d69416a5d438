"""Tests of messages that are written and divided in parts: what comes out does not depend on the parts."""

from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from costs import grows_in_line
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.common.errors import UserError
from mothertongue.formats import messages, partitions
from mothertongue.formats.messages import MessageFiles, MessageWriter, write
from mothertongue.formats.partitions import Partitions, buckets, partitions_for

SCHEMA = pa.schema([("message_id", pa.string()), ("text", pa.string())])
SIZES = st.lists(st.integers(0, 60), max_size=12)


def table(lengths):
    return pa.table({"message_id": list(map(str, range(len(lengths)))), "text": ["x" * n for n in lengths]}, SCHEMA)


def cut(whole, cuts):
    """The rows of a table in parts."""
    places = sorted({0, len(whole), *(at for at in cuts if at <= len(whole))})
    return [whole.slice(start, end - start) for start, end in pairwise(places)]


@given(SIZES, SIZES)
def test_a_file_has_the_same_bytes_whatever_the_parts_are(tmp_path_factory, lengths, cuts):
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "_ROWS_A_GROUP", 4)
        whole = table(lengths)
        with MessageWriter(folder / "whole", SCHEMA, 100) as file:
            file.write(whole)
        with MessageWriter(folder / "parts", SCHEMA, 100) as file:
            for part in cut(whole, cuts):
                file.write(part)
        assert (folder / "whole").read_bytes() == (folder / "parts").read_bytes()
        found = pq.ParquetFile(folder / "parts")
        assert found.read().equals(whole)
        groups = [found.read_row_group(number)["text"].to_pylist() for number in range(found.num_row_groups)]
        # A group ends with the row that fills it.
        assert all(len(texts) <= 4 and sum(map(len, texts[:-1])) < 100 for texts in groups)
        assert all(len(texts) == 4 or sum(map(len, texts)) >= 100 for texts in groups[:-1])


@given(SIZES, SIZES, st.integers(1, 5))
def test_partitions_hold_the_rows_in_their_order(tmp_path_factory, lengths, cuts, count):
    folder = tmp_path_factory.mktemp("partitions") / "rows"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "_WAITING_ROWS", 3)
        whole = table(lengths)
        with Partitions(folder) as divided:
            for part in cut(whole, cuts):
                divided.write(part, buckets(part["message_id"].to_pylist(), count))
            found = [[row for batch in divided.read(number) for row in batch.to_pylist()] for number in range(count)]
    numbers = buckets(whole["message_id"].to_pylist(), count)
    rows = list(zip(whole.to_pylist(), numbers, strict=True))
    assert found == [[row for row, own in rows if own == number] for number in range(count)]
    assert not folder.exists()


def test_partitions_are_as_many_as_rows_or_bytes_need():
    assert partitions_for(0, 0) == partitions_for(50_000, 1_000) == 1
    assert partitions_for(50_001, 0) == partitions_for(1, 128_000_001) == 2
    assert partitions_for(10**12, 0) < 1_000  # files that are open together


@given(st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(1, 12))
def test_messages_are_read_in_tables_of_a_size(tmp_path_factory, counts, size):
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{number}.parquet" for number in range(len(counts))]
    for path, count in zip(paths, counts, strict=True):
        write(table([1] * count), path)
    files = MessageFiles(paths, SCHEMA)
    found = list(files.batches(size))
    assert sum(map(len, found)) == len(files) == sum(counts)
    assert all(len(one) == size for one in found[:-1]) and 0 <= len(found[-1]) <= size


def test_many_small_or_empty_parts_cost_in_line(tmp_path):
    one, none = table([1]), table([])

    def written(count):
        with MessageWriter(tmp_path / "file", SCHEMA) as file, Partitions(tmp_path / "parts") as divided:
            for part in [one, none] * count:
                file.write(part)
                divided.write(part, buckets(part["message_id"].to_pylist(), 3))

    assert grows_in_line(lambda: written(5_000), lambda: written(20_000))


def test_only_what_is_read_whole_must_fit_in_memory(tmp_path, monkeypatch):
    write(table([10] * 50), tmp_path / "file")
    monkeypatch.setattr(messages.os, "sysconf", lambda name: 100)
    assert sum(map(len, messages.parts(tmp_path / "file", SCHEMA))) == 50
    with pytest.raises(UserError, match="this machine has not the memory for it"):
        messages.read(tmp_path / "file", SCHEMA)
