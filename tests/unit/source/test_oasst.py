"""Tests of reading OASST files: accepted formats, and the one-line errors for all others."""

import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oasst import row, write
from steps import fetched

from mothertongue.common.errors import UserError
from mothertongue.formats import partitions
from mothertongue.formats.messages import MESSAGES, OASST, is_validation, read, shard_of
from mothertongue.source.reading import Dataset, new_limits
from mothertongue.source.settings import LimitSettings

PAIR = (row("a"), row("b", "a"))
SAMPLE = Path("config/demo/messages.jsonl")


def refusal(path):
    with pytest.raises(UserError) as caught:
        fetched(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.fixture(params=[50_000, 1], ids=["one partition", "many partitions"])
def rows_a_partition(request, monkeypatch):
    """Check what must hold over all messages in one partition, and in one a message."""
    monkeypatch.setattr(partitions, "_ROWS", request.param)


def test_every_file_format_gives_the_same_table(tmp_path):
    table = fetched(SAMPLE)
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    pq.write_table(table, tmp_path / "m.parquet")
    assert fetched(tmp_path / "m.jsonl.gz").equals(table)
    assert fetched(tmp_path / "m.parquet").equals(table)
    assert table.schema.equals(MESSAGES)
    for line, record in zip(SAMPLE.open(encoding="utf-8"), table.to_pylist(), strict=True):
        original = json.loads(line)
        assert record["text"] == original["text"]
        assert record["labels"] == original["labels"]


@pytest.mark.parametrize("size", [1, 300, 700])
def test_parquet_files_may_have_row_groups_of_any_size(tmp_path, size):
    table = fetched(SAMPLE)
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=size)
    assert fetched(tmp_path / "m.parquet").equals(table)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "no messages in it"),
        ([row("a"), row("a")], "line 2: message_id a was used before, in line 1"),
        ([row("a", "b", "t"), row("b", "a", "t")], "line 1: message a is its own ancestor (parent_id cycle)"),
        ([row("a", "a")], "line 1: message a is its own ancestor (parent_id cycle)"),
        ([row("a", role="user")], "line 1: unknown role 'user' (expected prompter or assistant or system)"),
        ([{k: v for k, v in r.items() if k != "rank"} for r in PAIR], "column 'rank' is missing"),
        ([row("a"), row("b", "a", text=None)], "line 2: column 'text' is missing or null"),
        ([row("a"), row("b", "a", rank="0")], "line 2: column 'rank': expected a whole number, found \"0\""),
        (
            [row("a"), row("b", "a", lang="en\n# <b>")],
            r"line 2: lang 'en\n# <b>' is not a language tag such as en or pt-BR",
        ),
        ([row("a", lang="")], "line 1: lang '' is not a language tag such as en or pt-BR"),
        ([row("a", lang="english")], "line 1: lang 'english' is not a language tag such as en or pt-BR"),
        ([row("a", rank=1.5)], "line 1: column 'rank': expected a whole number, found 1.5"),
        ([row("a", deleted="no")], "line 1: column 'deleted': expected true or false, found \"no\""),
        ([row("a", text=["x"])], "line 1: column 'text': expected text, found [\"x\"]"),
        (
            [row("a"), row("b", "a", text="so \ud83d")],
            r"line 2: column 'text': half of a surrogate pair (\ud83d), which is not a character",
        ),
        (
            [row("a", emojis={"name": ["\udc00"], "count": [1]})],
            r"line 1: column 'emojis': half of a surrogate pair (\udc00), which is not a character",
        ),
        (
            [row("a", detoxify={"toxicity": True})],
            "line 1: column 'detoxify': expected an object with "
            'toxicity, severe_toxicity, obscene, identity_attack, insult, threat, sexual_explicit, found {"toxicity": true}',
        ),
        ([row("a", labels=[1])], "line 1: column 'labels': expected an object with name, value, count, found [1]"),
        ([row("a"), row("b", "a", tree="other")], "line 2: message_tree_id of b is not that of its parent a"),
    ],
)
@pytest.mark.usefixtures("rows_a_partition")
def test_invalid_rows_are_refused_with_their_line(tmp_path, rows, expected):
    assert refusal(write(tmp_path / "m.jsonl", *rows)) == expected


def test_the_language_tags_of_oasst_are_accepted(tmp_path):
    tags = ["en", "pt-BR", "uk-UA", "nb-NO", "zh", "bar", "swg", "zh-Hant-TW", "sr-Latn", "de-1996"]
    path = write(tmp_path / "m.jsonl", *(row(tag, lang=tag) for tag in tags))
    assert fetched(path)["lang"].to_pylist() == tags


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}\n{oops\n', "line 2: not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (b"[1]\n", "line 1: not a JSON object"),
        (b'{"text": "\xff"}\n', "line 1: not UTF-8 (invalid start byte at byte 10)"),
    ],
)
def test_invalid_files_are_refused_with_the_line(tmp_path, content, expected):
    path = tmp_path / "m.jsonl"
    path.write_bytes(content)
    assert refusal(path) == expected


def test_files_that_do_not_match_their_extension_are_refused(tmp_path):
    assert refusal(tmp_path / "none.jsonl") == "no such file"
    for name, start in [("m.parquet", "not a readable Parquet file"), ("m.jsonl.gz", "cannot be read after line 0")]:
        (tmp_path / name).write_bytes(b"nothing of the kind")
        assert refusal(tmp_path / name).startswith(start)
    (tmp_path / "m.txt").write_text("a,b")
    assert refusal(tmp_path / "m.txt").startswith("unknown kind of file")
    cut = gzip.compress(SAMPLE.read_bytes())[:5000]
    (tmp_path / "cut.jsonl.gz").write_bytes(cut)
    assert refusal(tmp_path / "cut.jsonl.gz").startswith("cannot be read after line")


def test_a_parquet_file_with_a_wrong_or_missing_column_is_refused(tmp_path):
    table = fetched(SAMPLE)
    path = tmp_path / "m.parquet"
    pq.write_table(table.drop_columns(["role"]), path)
    assert refusal(path) == "column 'role' is missing"
    pq.write_table(table.set_column(table.column_names.index("deleted"), "deleted", table["text"]), path)
    assert refusal(path).startswith("column 'deleted': expected bool, found string")


def test_missing_nullable_keys_blank_lines_and_a_byte_order_mark_are_accepted(tmp_path):
    lean = {key: value for key, value in row("b", "a").items() if key not in ("rank", "detoxify")}
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row("a")).encode() + b"\n\n" + json.dumps(lean).encode() + b"\r\n")
    table = fetched(path)
    assert table["rank"].to_pylist() == [None, None]
    assert table["message_id"].to_pylist() == ["a", "b"]


def test_trees_are_never_divided_between_splits_or_shards():
    messages = fetched(SAMPLE, validation=0.12)
    assert messages.schema.equals(MESSAGES)
    split_of = {}
    for tree, split in zip(messages["message_tree_id"].to_pylist(), messages["split"].to_pylist(), strict=True):
        assert split_of.setdefault(tree, split) == split
    assert set(split_of.values()) == {"train", "validation"}
    trees = [f"tree {i}" for i in range(20_000)]
    assert abs(sum(is_validation(tree, 0.05) for tree in trees) / len(trees) - 0.05) < 0.01
    assert max(sum(shard_of(tree, 8) == s for tree in trees) for s in range(8)) < 2_800


def test_a_tree_in_two_splits_is_refused(tmp_path):
    train = write(tmp_path / "t.jsonl", *PAIR)
    validation = write(tmp_path / "v.jsonl", row("c", tree="a"))
    with pytest.raises(UserError, match="tree a stands in the train and in the validation split"):
        fetched({"train": [train], "validation": [validation]}, validation=0.5)


@pytest.mark.usefixtures("rows_a_partition")
def test_what_must_hold_over_all_files_names_the_files(tmp_path):
    one, two = write(tmp_path / "1.jsonl", *PAIR), tmp_path / "2.jsonl"
    for rows, said in (
        ([row("z"), row("a")], f"{two}: line 2: message_id a was used before, in {one}: line 1"),
        ([row("z"), row("y", "a", "z")], f"{two}: line 2: message_tree_id of y is not that of its parent a"),
    ):
        with pytest.raises(UserError) as caught:
            fetched({"train": [one, write(two, *rows)]})
        assert str(caught.value) == said
        # The ids of one of several sources are told as they are written.
        with pytest.raises(UserError) as caught:
            fetched({"train": [one, two]}, Dataset("mine"))
        assert str(caught.value) == said


def test_a_tag_with_another_script_is_another_source_language(tmp_path):
    tags = ["pt-BR", "zh-TW", "zh-CN", "sr-Latn", "iw", "pt_BR", "zh_TW", "eng_Latn"]
    path = write(tmp_path / "m.jsonl", *(row(f"{number}", lang=tag) for number, tag in enumerate(tags)))
    messages = fetched(path)
    assert messages["lang"].to_pylist() == tags
    assert messages["source_lang"].to_pylist() == ["pt", "zh-Hant", "zh", "sr-Latn", "he", "pt", "zh-Hant", "en"]


def parquet(path, rows, **columns):
    """Write a Parquet file of rows, with some columns replaced by columns of other types."""
    table = pa.Table.from_pylist(rows, schema=OASST)
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("parent", ["", "None", "nan", " ", "null", "NaN", float("nan")], ids=repr)
def test_other_spellings_of_a_null_parent_are_read_as_null(tmp_path, capsys, parent):
    path = write(tmp_path / "m.jsonl", row("a", parent, "a", "prompter"), row("b", "a"))
    assert fetched(path)["parent_id"].to_pylist() == [None, "a"]
    if isinstance(parent, str):
        assert f"parent_id of 1 messages is read as null, was {parent!r}" in capsys.readouterr().err
        same = fetched(parquet(tmp_path / "m.parquet", [row("a", parent, "a", "prompter"), row("b", "a")]))
        assert same["parent_id"].to_pylist() == [None, "a"]


def test_a_message_may_have_the_id_none(tmp_path):
    path = write(tmp_path / "m.jsonl", row("None"), row("b", "None"))
    assert fetched(path)["parent_id"].to_pylist() == [None, "None"]


@pytest.mark.usefixtures("rows_a_partition")
def test_trees_without_a_root_are_reported_and_refused_if_no_tree_has_one(tmp_path, capsys):
    orphan = row("c", "gone", "t")
    assert refusal(write(tmp_path / "m.jsonl", orphan)).startswith("source.dataset: none of 1 trees has a root")
    fetched(write(tmp_path / "m.jsonl", *PAIR, orphan))
    assert (
        "1 of 2 trees have no root (a message whose parent_id is null) and so no thread: 't'" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("rows_a_partition")
def test_replies_to_missing_messages_are_reported_and_refused_if_there_are_no_others(tmp_path, capsys):
    roots = [row(f"q{number}") for number in range(3)]
    lost = [row(f"a{number}", f"Q{number}", f"q{number}") for number in range(3)]
    assert refusal(write(tmp_path / "m.jsonl", *roots, *lost)) == (
        "source.dataset: no parent_id of its 3 replies is the message_id of a message ('a0' has 'Q0'); "
        "they must be written alike"
    )
    capsys.readouterr()
    fetched(write(tmp_path / "m.jsonl", *roots, row("b", "q0"), *lost))
    assert "the parent_id of 3 of 4 replies is not a message_id of the dataset" in capsys.readouterr().err


OFFICIAL = {
    "labels": {"spam": {"value": 0.0, "count": 3}, "quality": {"value": 0.75, "count": 2}},
    "emojis": {"+1": 7, "_skip_reply": 2},
}
LISTS = {
    "labels": {"name": ["spam", "quality"], "value": [0.0, 0.75], "count": [3, 2]},
    "emojis": {"name": ["+1", "_skip_reply"], "count": [7, 2]},
}


def test_labels_of_the_official_export_are_converted(tmp_path):
    rows = [row("a", **OFFICIAL), row("b", "a", labels={}, emojis=None), row("c", "a", **LISTS)]
    table = fetched(write(tmp_path / "m.jsonl", *rows))
    for name, lists in LISTS.items():
        empty = dict.fromkeys(lists) if name == "labels" else None
        assert table[name].to_pylist() == [lists, empty, lists]
    # The form in which pandas and Arrow write such rows: a field for each name that occurs in any row.
    official = [row("a", **OFFICIAL), row("b", "a", labels={"toxicity": {"value": 0.5, "count": 1}}, emojis={"+1": 1})]
    columns = {name: pa.array([row[name] for row in official]) for name in OFFICIAL}
    plain = [one | {"labels": None, "emojis": None} for one in official]
    table = fetched(parquet(tmp_path / "m.parquet", plain, **columns))
    assert [table[name][0].as_py() for name in LISTS] == list(LISTS.values())
    assert table["labels"][1].as_py() == {"name": ["toxicity"], "value": [0.5], "count": [1]}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("labels", {"spam": 1}),
        ("labels", {"spam": {"value": 0.0, "count": 3, "by": "me"}}),
        ("labels", {"spam": {"value": 0.0}}),
        ("labels", {"spam": {"value": "x", "count": 3}}),
        ("labels", {"name": ["spam"], "value": [0.0, 1.0], "count": [1, 2]}),
        ("labels", {"name": ["spam"], "other": [1]}),
        ("labels", {"name": ["spam"], "value": [0.5], "count": [1.5]}),
        ("labels", {"name": ["spam"], "value": [True], "count": [1]}),
        ("emojis", {"+1": 1.5}),
        ("emojis", {"+1": "many"}),
        ("emojis", {"+1": [1]}),
        ("detoxify", {"toxicity": 0.1, "identity_hate": 0.2}),
    ],
)
def test_unexpected_values_in_nested_columns_are_refused_not_dropped(tmp_path, column, value):
    assert refusal(write(tmp_path / "m.jsonl", row("a"), row("b", "a", **{column: value}))).startswith(
        f"line 2: column '{column}': expected an object with "
    )
    if not any(isinstance(part, list) for part in value.values()):
        values = pa.array([None, value])
        path = parquet(tmp_path / "m.parquet", [row("a"), row("b", "a")], **{column: values})
        assert refusal(path).startswith(f"row 2: column '{column}': expected an object with ")


def test_ignored_columns_are_named(tmp_path, capsys):
    rows = [row("a", notes="x"), row("b", "a", more=1)]
    fetched(write(tmp_path / "m.jsonl", *rows))
    assert "left out, no columns of OASST: 'notes', 'more'" in capsys.readouterr().err
    table = pa.Table.from_pylist(list(PAIR), schema=OASST).append_column("notes", pa.array(["x", "y"]))
    pq.write_table(table, tmp_path / "m.parquet")
    fetched(tmp_path / "m.parquet")
    assert "left out, no columns of OASST: 'notes'" in capsys.readouterr().err


def test_a_long_list_of_ignored_columns_is_shortened(tmp_path, capsys):
    notes = {f"note {number}": number for number in range(50_000)} | {"n" * 1_000_000: 0}
    fetched(write(tmp_path / "m.jsonl", row("a") | {"x" * 100_000: 1} | notes))
    said = capsys.readouterr().err
    assert len(said) < 500
    assert said.endswith("'note 7', 'note 8' and 49,992 more\n")


def not_utf8(*texts):
    """Return an array that is declared as text but contains arbitrary bytes."""
    array = pa.array(texts, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(array), array.buffers())


@pytest.mark.costly
@pytest.mark.parametrize("column", [name for name in OASST.names if pa.types.is_string(OASST.field(name).type)])
def test_parquet_text_that_is_not_utf8_is_refused_with_its_row(tmp_path, column):
    rows = [row(f"{number}", tree="t") for number in range(6_001)]
    sound = {"role": b"system", "lang": b"en"}.get(column, b"ok")
    path = parquet(tmp_path / "m.parquet", rows, **{column: not_utf8(*[sound] * 5_999, b"\xff", sound)})
    assert refusal(path) == f"row 6000: column '{column}': not UTF-8"
    with pytest.raises(UserError, match=f"row 6000: column '{column}': not UTF-8"):
        read(path, OASST)


def test_parquet_text_in_lists_that_is_not_utf8_is_refused(tmp_path):
    names = pa.ListArray.from_arrays([0, 1, 2], not_utf8(b"spam", b"\xff"))
    emojis = pa.StructArray.from_arrays([names, pa.array([[1], [1]], pa.list_(pa.int32()))], ["name", "count"])
    assert refusal(parquet(tmp_path / "m.parquet", PAIR, emojis=emojis)) == "row 2: column 'emojis': not UTF-8"


REPLIES = [row("1675790964000"), row("2", "1675790964000"), row("3", "1675790964000", deleted=None)]


@pytest.mark.parametrize(
    ("column", "values", "read_as"),
    [
        ("parent_id", pa.array([float("nan"), 1675790964000.0, 1675790964000.0]), [None, *["1675790964000"] * 2]),
        ("parent_id", pa.array([None, 1675790964000, 1675790964000]), [None, *["1675790964000"] * 2]),
        ("deleted", pa.array([1.0, 0.0, float("nan")]), [True, False, None]),
        ("deleted", pa.array([float("nan")] * 3), [None] * 3),
        ("rank", pa.array([1.0, float("nan"), None]), [1, None, None]),
        ("rank", pa.array([float("nan"), 2.0, 1.0]).dictionary_encode(), [None, 2, 1]),
        ("model_name", pa.array([float("nan")] * 3), [None] * 3),
        ("model_name", pa.nulls(3), [None] * 3),
        ("text", pa.array(["a", "b", "é"], pa.large_string()), ["a", "b", "é"]),
        ("text", pa.array(["a", "b", "é"], pa.string_view()), ["a", "b", "é"]),
        ("text", pa.array(["a", "b", "é"]).cast(pa.binary()), ["a", "b", "é"]),
        ("text", pa.array(["a", "b", "é"]).dictionary_encode(), ["a", "b", "é"]),
        ("created_date", pa.array([0] * 3, pa.timestamp("ms")), ["1970-01-01 00:00:00.000"] * 3),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_other_types_for_the_same_values_are_read(tmp_path, column, values, read_as):
    path = parquet(tmp_path / "m.parquet", REPLIES, **{column: values})
    assert fetched(path)[column].to_pylist() == read_as


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("parent_id", [None, 0.5, 1.0], "row 2: column 'parent_id': expected a whole number, found 0.5"),
        ("parent_id", [None, 1.0, 2.0**60], "row 3: column 'parent_id': expected a whole number, found 1.1529215"),
        ("deleted", [0.0, float("nan"), 2.5], "row 3: column 'deleted': expected true or false, found 2.5"),
        ("deleted", ["false"] * 3, "column 'deleted': expected bool, found string"),
        ("deleted", [0, 1, 1], "column 'deleted': expected bool, found int64"),
        ("rank", [1.5, 1.0, 1.0], "row 1: column 'rank': expected a whole number, found 1.5"),
        ("rank", [float("inf"), 1.0, 1.0], "row 1: column 'rank': expected a whole number, found inf"),
        ("rank", ["1"] * 3, "column 'rank': expected int32, found string"),
        ("rank", [True] * 3, "column 'rank': expected int32, found bool"),
        ("text", [1, 2, 3], "column 'text': expected string, found int64"),
        ("text", [1.0, 2.0, 3.0], "column 'text': expected string, found double"),
        ("text", [True] * 3, "column 'text': expected string, found bool"),
        ("text", [b"a", b"\xff", b"b"], "row 2: column 'text': not UTF-8"),
        ("message_id", [1.0, 2.0, float("nan")], "row 3: column 'message_id' is empty"),
        ("tree_state", pa.array([0] * 3, pa.timestamp("s")), "column 'tree_state': expected string, found timestamp"),
        ("emojis", [{"name": ["+1"], "count": ["1"]}] * 3, "column 'emojis': expected struct"),
        ("labels", [{"name": [1], "value": [0.0], "count": [1]}] * 3, "column 'labels': expected struct"),
        ("detoxify", [{"toxicity": "0.1"}] * 3, "column 'detoxify': expected struct"),
    ],
)
def test_values_of_another_type_are_refused_not_converted(tmp_path, column, values, expected):
    values = values if isinstance(values, pa.Array) else pa.array(values)
    assert refusal(parquet(tmp_path / "m.parquet", REPLIES, **{column: values})).startswith(expected)


def test_files_written_by_pandas_are_read_like_their_json(tmp_path):
    table = fetched(SAMPLE)
    frame = pd.read_json(SAMPLE, lines=True, precise_float=True)
    frame.to_parquet(tmp_path / "m.parquet")
    assert fetched(tmp_path / "m.parquet").equals(table)
    plain = [name for name in frame if not pa.types.is_nested(OASST.field(name).type)]
    frame.astype(dict.fromkeys(plain, "category")).to_parquet(tmp_path / "m.parquet")
    assert fetched(tmp_path / "m.parquet").equals(table)


def limited(**limits):
    names = {
        f"max_{name}": limit for name, limit in ({"rows": 100, "megabytes": 2, "line_megabytes": 1} | limits).items()
    }
    return new_limits(LimitSettings(**names))


def test_files_above_the_limits_are_refused_before_memory_is_allocated(tmp_path):
    path = tmp_path / "m.jsonl.gz"

    def said(limits=None):
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        with pytest.raises(UserError) as caught:
            fetched(path, Dataset(limits=limits or limited()))
        assert tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before < 40_000_000
        tracemalloc.stop()
        return str(caught.value).removeprefix(f"{path}: ")

    path.write_bytes(gzip.compress(b"\n".join(json.dumps(row(f"{i}")).encode() for i in range(101))))
    assert said() == "line 101: more than 100 messages; source.limits.rows allows more, where there is room for it"
    path.write_bytes(gzip.compress((json.dumps(row("a", text="a" * 900_000)) + "\n").encode() * 60))
    assert said().startswith("line 3: more than 2 MB decompressed; source.limits.megabytes allows more")
    path.write_bytes(gzip.compress(b'{"text": "' + b"a" * 60_000_000))
    assert said().startswith("line 1: longer than 1 MB; source.limits.line_megabytes allows more")
    path.write_bytes(gzip.compress(json.dumps(row("a")).encode() + b"\n" * 1_000_000))
    assert said().startswith("line 102: more than 100 empty lines; source.limits.rows allows more")
    path = parquet(tmp_path / "m.parquet", [row("a")] * 101)
    assert said().startswith("more than 100 messages; source.limits.rows allows more")
    # A long text that is stored once and used in every row.
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["a" * 1_000_000]))
    path = parquet(tmp_path / "m.parquet", [row(f"{i}") for i in range(5_000)], text=long)
    assert path.stat().st_size < 1_000_000
    assert said(limited(rows=5_000, megabytes=3_000)).startswith("more than 3,000 MB decompressed")


def with_long_lists(path, values):
    """Write a small Parquet file of two rows whose lists emojis.count contain this number of zeros in total."""
    counts = pa.ListArray.from_arrays([0, values // 2, values], pa.array(np.zeros(values, np.int64)))
    emojis = pa.StructArray.from_arrays([pa.array([["+1"]] * 2), counts], ["name", "count"])
    return parquet(path, PAIR, emojis=emojis)


def test_long_lists_are_refused_before_they_are_decoded(tmp_path):
    path = with_long_lists(tmp_path / "m.parquet", 10_000_000)
    assert path.stat().st_size < 20_000
    usual = pa.default_memory_pool()
    pa.set_memory_pool(pool := pa.proxy_memory_pool(usual))
    try:
        with pytest.raises(UserError, match="more than 100 MB decompressed"):
            fetched(path, Dataset(limits=limited(megabytes=100)))
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < 1_000_000


@pytest.mark.costly
def test_insufficient_memory_is_reported_in_one_line(tmp_path):
    path = with_long_lists(tmp_path / "m.parquet", 80_000_000)
    program = """
import resource, sys
from pathlib import Path
from mothertongue.common.errors import UserError
from mothertongue.source.reading import Dataset, read_file
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 1_000_000_000,) * 2)
try:
    list(read_file(Path(sys.argv[1]), Dataset()))
except UserError as error:
    print(error)
"""
    environment = os.environ | {"PYTHONPATH": "scripts"}
    command = [sys.executable, "-c", program, path]
    said = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert said.startswith(f"{path}: too large (") and said.count("\n") == 1
    assert "source.limits.megabytes allows more, where there is room for it" in said


def test_limits_apply_to_all_files_together(tmp_path):
    path, limits = write(tmp_path / "m.jsonl", *PAIR), limited(rows=3)
    fetched(path, Dataset(limits=limits))
    with pytest.raises(UserError, match="line 2: more than 3 messages"):
        fetched(path, Dataset(limits=limits))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf16_is_recognised(tmp_path, encoding):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(row("a")) + "\n", encoding=encoding)
    assert refusal(path) == "not UTF-8, but perhaps UTF-16; save it as UTF-8"


def test_whole_trees_give_the_messages_that_stand_in_them(tmp_path):
    """As the official export has them: replies within replies, labels by name, columns left out where they are null."""

    def node(name, *replies, **more):
        own = {key: value for key, value in row(name, **more).items() if value is not None and key != "message_tree_id"}
        return {**own, "replies": list(replies), "events": {"x": []}}

    labels = {"spam": {"value": 0.0, "count": 3}}
    prompt = node(
        "a",
        node("b", node("d", role="prompter"), role="assistant", rank=1),
        node("c", role="assistant", rank=0),
        labels=labels,
    )
    path = write(tmp_path / "trees.jsonl", {"message_tree_id": "a", "tree_state": "ready_for_export", "prompt": prompt})
    table = fetched(path)
    names = ("message_id", "parent_id", "rank", "message_tree_id", "tree_state")
    assert [tuple(one[name] for name in names) for one in table.to_pylist()] == [
        ("a", None, None, "a", "ready_for_export"),
        ("b", "a", 1, "a", "ready_for_export"),
        ("d", "b", None, "a", "ready_for_export"),
        ("c", "a", 0, "a", "ready_for_export"),
    ]
    assert table["labels"][0].as_py() == {"name": ["spam"], "value": [0.0], "count": [3]}
    spoilt = write(tmp_path / "spoilt.jsonl", {"message_tree_id": "a", "prompt": node("a") | {"replies": ["b"]}})
    assert refusal(spoilt) == "line 1: a message of the tree is not an object, or its replies are no list"


def test_the_program_prints_one_line_and_writes_no_file(tmp_path):
    path = write(tmp_path / "m.jsonl", row("a", role="user"))
    done = subprocess.run(
        [sys.executable, "scripts/fetch.py", "--dataset", path, "--output", tmp_path / "out" / "m.parquet"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    expected = "line 1: unknown role 'user' (expected prompter or assistant or system)"
    assert done.stderr.splitlines() == [f"fetch: {path}: format oasst", f"fetch.py: error: {path}: {expected}"]
    assert not list(tmp_path.glob("out/*"))
