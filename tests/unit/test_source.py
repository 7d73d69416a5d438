"""Reading OASST files: what is accepted, and the one line that refuses what is not."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from oasst import row, write

from mothertongue import source
from mothertongue.errors import UserError
from mothertongue.languages import language_of
from mothertongue.messages import MESSAGES, OASST, is_validation, shard_of

PAIR = (row("a"), row("b", "a"))
SAMPLE = Path("config/demo/messages.jsonl")


def refusal(path):
    with pytest.raises(UserError) as caught:
        source.combine_splits({"train": source.read_file(path)}, 0.0)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_every_kind_of_file_gives_the_same_table(tmp_path):
    table = source.read_file(SAMPLE)
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    pq.write_table(table, tmp_path / "m.parquet")
    assert source.read_file(tmp_path / "m.jsonl.gz").equals(table)
    assert source.read_file(tmp_path / "m.parquet").equals(table)
    assert table.schema.equals(OASST)
    for line, record in zip(SAMPLE.open(encoding="utf-8"), table.to_pylist(), strict=True):
        original = json.loads(line)
        assert record["text"] == original["text"]
        assert record["labels"] == original["labels"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "no messages in it"),
        ([row("a"), row("a")], "line 2: message_id a was used before, in line 1"),
        ([row("a", "b", "t"), row("b", "a", "t")], "line 1: message a is its own ancestor (parent_id cycle)"),
        ([row("a", "a")], "line 1: message a is its own ancestor (parent_id cycle)"),
        ([row("a", role="user")], "line 1: unknown role 'user' (expected prompter or assistant)"),
        ([{k: v for k, v in r.items() if k != "rank"} for r in PAIR], "column 'rank' is missing"),
        ([row("a"), row("b", "a", text=None)], "line 2: column 'text' is missing or null"),
        ([row("a"), row("b", "a", rank="0")], "line 2: column 'rank': expected a whole number, found \"0\""),
        ([row("a", rank=1.5)], "line 1: column 'rank': expected a whole number, found 1.5"),
        ([row("a", deleted="no")], "line 1: column 'deleted': expected true or false, found \"no\""),
        ([row("a", text=["x"])], "line 1: column 'text': expected text, found [\"x\"]"),
        ([row("a", labels=[1])], "line 1: column 'labels': expected an object with name, value, count, found [1]"),
        ([row("a"), row("b", "a", tree="other")], "line 2: message_tree_id of b is not that of its parent a"),
    ],
)
def test_bad_rows_are_refused_by_line(tmp_path, rows, expected):
    assert refusal(write(tmp_path / "m.jsonl", *rows)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}\n{oops\n', "line 2: not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (b"[1]\n", "line 1: not a JSON object"),
        (b'{"text": "\xff"}\n', "line 1: not UTF-8 (invalid start byte at byte 10)"),
    ],
)
def test_bad_files_are_refused_by_line(tmp_path, content, expected):
    path = tmp_path / "m.jsonl"
    path.write_bytes(content)
    assert refusal(path) == expected


def test_files_that_are_not_what_they_are_called(tmp_path):
    assert refusal(tmp_path / "none.jsonl") == "no such file"
    for name, start in [("m.parquet", "not a readable Parquet file"), ("m.jsonl.gz", "cannot be read after line 0")]:
        (tmp_path / name).write_bytes(b"nothing of the kind")
        assert refusal(tmp_path / name).startswith(start)
    (tmp_path / "m.csv").write_text("a,b")
    assert refusal(tmp_path / "m.csv").startswith("unknown kind of file")
    cut = gzip.compress(SAMPLE.read_bytes())[:5000]
    (tmp_path / "cut.jsonl.gz").write_bytes(cut)
    assert refusal(tmp_path / "cut.jsonl.gz").startswith("cannot be read after line")


def test_a_parquet_file_with_a_wrong_type_or_a_missing_column(tmp_path):
    table = source.read_file(SAMPLE)
    path = tmp_path / "m.parquet"
    pq.write_table(table.drop_columns(["role"]), path)
    assert refusal(path) == "column 'role' is missing"
    pq.write_table(table.set_column(table.column_names.index("deleted"), "deleted", table["text"]), path)
    assert refusal(path).startswith("column 'deleted': expected bool, found string")


def test_null_keys_may_be_left_out_and_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path):
    lean = {key: value for key, value in row("b", "a").items() if key not in ("rank", "detoxify")}
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row("a")).encode() + b"\n\n" + json.dumps(lean).encode() + b"\r\n")
    table = source.read_file(path)
    assert table["rank"].to_pylist() == [None, None]
    assert table["message_id"].to_pylist() == ["a", "b"]


def test_trees_are_never_divided_and_splits_are_stable():
    messages = source.combine_splits({"train": source.read_file(SAMPLE)}, 0.12)
    assert messages.schema.equals(MESSAGES)
    split_of = {}
    for tree, split in zip(messages["message_tree_id"].to_pylist(), messages["split"].to_pylist(), strict=True):
        assert split_of.setdefault(tree, split) == split
    assert set(split_of.values()) == {"train", "validation"}
    trees = [f"tree {i}" for i in range(20_000)]
    assert abs(sum(is_validation(tree, 0.05) for tree in trees) / len(trees) - 0.05) < 0.01
    assert max(sum(shard_of(tree, 8) == s for tree in trees) for s in range(8)) < 2_800


def test_a_tree_in_two_splits_is_refused(tmp_path):
    train = source.read_file(write(tmp_path / "t.jsonl", *PAIR))
    validation = source.read_file(write(tmp_path / "v.jsonl", row("c", tree="a")))
    with pytest.raises(UserError, match="tree a stands in the train and in the validation split"):
        source.combine_splits({"train": train, "validation": validation}, 0.5)


def test_languages_lose_their_region():
    assert [language_of(tag) for tag in ("pt-BR", "uk-UA", "nb-NO", "en")] == ["pt", "uk", "nb", "en"]


def test_the_program_says_one_line_and_writes_nothing(tmp_path):
    path = write(tmp_path / "m.jsonl", row("a", role="user"))
    done = subprocess.run(
        [sys.executable, "scripts/fetch.py", "--dataset", path, "--output", tmp_path / "out" / "m.parquet"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == f"fetch.py: error: {path}: line 1: unknown role 'user' (expected prompter or assistant)\n"
    assert not list(tmp_path.glob("out/*"))
