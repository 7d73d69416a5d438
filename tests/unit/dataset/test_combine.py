"""Tests of translating shards and combining them into a dataset: no message is lost, and the account adds up."""

import subprocess
import sys
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oasst import row, write
from small_trees import trees as tree_messages
from steps import combined, fetched, split
from translators import translator, way

from mothertongue.cards.dataset import dataset_card
from mothertongue.common.errors import UserError
from mothertongue.dataset import combine, quality_report, trees
from mothertongue.formats.messages import MESSAGES, TRANSLATED
from mothertongue.formats.messages import write as write_table
from mothertongue.translation import shards

ROWS = [
    row("a", text="Good morning."),
    row("b", "a", text="Good morning to you."),
    row("c", lang="pt-BR", text="Bom dia."),
    row("d", lang="es", text="Buenos días."),
    row("e", lang="de", text="Guten Morgen."),
    row("f", text=""),
    row("g", text="bad"),
]


def upper(batch):
    return ["" if s == "bad" else s.upper() for s in batch]


UPPER = translator(way(upper, "m@1"))


@pytest.fixture
def messages(tmp_path):
    return fetched(write(tmp_path / "m.jsonl", *ROWS))


@pytest.fixture
def translated(messages):
    tables, _ = split(messages, SHARDS)
    en = [shards.translate(s, "pt", UPPER, "direct") for s in tables["en"]]
    return [*en, *(shards.keep(s, "pt") for s in tables["pt"]), *(shards.give_up(s, "pt") for s in tables["es"])]


SHARDS = {"en": 3, "pt": 1, "es": 1}


@pytest.fixture
def counts(messages):
    return split(messages, SHARDS)[1]


def test_each_shard_keeps_its_messages_in_order(messages):
    for number, shard in enumerate(split(messages, SHARDS)[0]["en"]):
        result = shards.translate(shard, "pt", UPPER, "direct")
        assert result.schema.equals(TRANSLATED)
        assert result["message_id"].to_pylist() == shard["message_id"].to_pylist(), number
        assert result["source_text"].to_pylist() == shard["text"].to_pylist()
        assert set(result["lang"].to_pylist()) <= {"pt"}


def test_every_message_has_its_status_and_route(translated):
    rows = {row["message_id"]: row for table in translated for row in table.to_pylist()}
    seen = {key: (r["status"], r["route"], r["model"], r["text"]) for key, r in rows.items()}
    assert seen == {
        "a": ("translated", "direct", "m@1", "GOOD MORNING."),
        "b": ("translated", "direct", "m@1", "GOOD MORNING TO YOU."),
        "c": ("native", "native", None, "Bom dia."),
        "d": ("failed", "none", None, None),
        "f": ("copied", "direct", None, ""),
        "g": ("failed", "direct", "m@1", None),
    }
    assert rows["d"]["reasons"] == ["no route"]


def test_a_pivot_keeps_the_source_and_names_both_models(messages):
    (shard,) = split(messages, {"en": 1})[0]["en"]
    english = shards.translate(shard, "en", translator(way(upper, "first@1"), target="en"), "direct")
    exclaim = translator(way(lambda batch: [s + "!" for s in batch], "second@2"))
    result = shards.translate_pivot(english, "pt", exclaim)
    rows = {row["message_id"]: row for row in result.to_pylist()}
    assert rows["a"] | {"text": "GOOD MORNING.!", "source_text": "Good morning.", "route": "pivot"} == rows["a"]
    assert rows["a"]["model"] == "first@1+second@2"
    assert (rows["g"]["status"], rows["g"]["text"]) == ("failed", None)
    assert rows["g"]["reasons"] == ["pivot: empty"]
    assert rows["f"]["status"] == "copied"


def test_replies_are_left_to_a_teacher_in_one_step_and_through_english(messages, counts):
    (shard,) = split(messages, {"en": 1})[0]["en"]
    direct = shards.translate(shard, "pt", UPPER, "direct", only_users=True)
    english = shards.translate(shard, "en", UPPER, "direct", only_users=True)
    for table in (direct, shards.translate_pivot(english, "pt", UPPER)):
        rows = {row["message_id"]: row for row in table.to_pylist()}
        left = rows["b"]
        assert (left["status"], left["route"], left["text"], left["model"]) == ("awaiting", "teacher", None, None)
        assert left["source_text"] == "Good morning to you." and left["reasons"] == []
        assert rows["a"]["text"] == "GOOD MORNING." and [*rows] == shard["message_id"].to_pylist()
    # What a person corrects is still of the teacher, and no translation.
    columns = {"split": ["train"] * 2, "source_lang": ["en"] * 2, "status": ["answered", "corrected"]}
    taught = combine.Counted()
    taught.add(pa.table(columns | {"route": ["teacher"] * 2, "model": ["T@teacher"] * 2}), "keep")
    assert taught.teachers == {"T@teacher": 2} and not taught.models
    # No dataset is made of what waits.
    _, counted = combined([direct])
    with pytest.raises(UserError, match="messages went in"):
        combine.account(counts, counted)


def test_the_account_adds_up(translated, counts):
    splits, counted = combined(translated)
    accounting = combine.account(counts, counted)
    total = accounting["total"]
    assert total["messages"] == sum(total["status"].values()) + total["excluded"] == 7
    assert total["excluded"] == accounting["train"]["de"]["excluded"] == 1
    assert total["excluded_because"] == accounting["train"]["de"]["excluded_because"] == {"language": 1, "scope": 0}
    assert total["out"] == splits["train"].num_rows == 6
    quality = quality_report.report(translated, "pt")
    card = dataset_card("pt", "Portuguese", [("sample.jsonl", "cc0-1.0")], accounting, {"m@1": 2}, quality, {})
    assert "7 messages in, 6 in the dataset.\nLeft out were 1 in other source languages." in card
    assert "- objections (messages): empty 1, no route 1" in card


def test_messages_outside_the_scope_are_counted_as_excluded(messages, translated):
    tables, counts = split(messages, SHARDS, "best")
    kept = pa.concat_tables(table for some in tables.values() for table in some)["message_id"]
    assert sorted(kept.to_pylist()) == ["a", "b"]
    accounting = combine.account(
        counts, combined(table.filter(pc.is_in(table["message_id"], kept)) for table in translated)[1]
    )
    assert accounting["train"]["en"]["excluded_because"] == {"language": 0, "scope": 2}
    assert accounting["total"]["excluded_because"] == {"language": 1, "scope": 4}
    assert accounting["total"]["excluded"] == 5
    with pytest.raises(UserError, match="train, en: 2 messages went in, 4 came out"):
        combine.account(counts, combined(translated)[1])


@given(tree_messages(), st.sampled_from(["best", "all"]))
def test_the_scope_of_threads_gives_the_same_threads_as_all_messages(members, how):
    """Check this for any messages, provided that no translation fails."""
    rows = [
        row(m.id, m.parent, m.tree, m.role, text=m.text, rank=m.rank, created_date=m.created, deleted=m.deleted)
        | {"review_result": m.review_result, "split": "train", "source_lang": "en"}
        for m in members
    ]
    ((kept,),) = split(pa.Table.from_pylist(rows, schema=MESSAGES), {"en": 1}, how)[0].values()
    in_scope = set(kept["message_id"].to_pylist())
    sound = [replace(m, status="translated") for m in members]
    whole = trees.select(sound, how)
    assert trees.select([m for m in sound if m.id in in_scope], how).threads == whole.threads
    assert in_scope == {m.id for thread in whole.threads for m in thread}


def test_a_scope_without_any_thread_is_refused(messages, tmp_path):
    write_table(messages.filter(pc.field("message_id") != "b"), tmp_path / "messages.parquet")
    done = subprocess.run(
        [sys.executable, "scripts/split.py", "--messages", tmp_path / "messages.parquet", "--shards", "en=2", "pt=1",
         "--only-threads", "best", "--counts", tmp_path / "counts.json", "--output", tmp_path / "shards"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "no tree has a thread; source.scope 'all' keeps every message" in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.rglob("counts.json")) + list(tmp_path.glob("shards/*"))


def test_a_missing_message_stops_the_build(translated, counts):
    first = next(number for number, table in enumerate(translated) if len(table))
    short = [table.slice(1) if number == first else table for number, table in enumerate(translated)]
    with pytest.raises(UserError, match="4 messages went in, 3 came out"):
        combine.account(counts, combined(short)[1])
    no_english = [table for table in translated if table.num_rows and table["source_lang"][0].as_py() != "en"]
    with pytest.raises(UserError, match="4 messages went in, 0 came out"):
        combine.account(counts, combined(no_english)[1])


def test_a_message_kept_in_a_third_language_has_no_model(tmp_path):
    german = row("h", text="Ich möchte gern wissen, wie das Wetter morgen in Berlin sein wird.")
    messages = fetched(write(tmp_path / "m.jsonl", german, row("a", text="Good morning.")))
    (shard,) = (shards.translate(s, "pt", UPPER, "direct") for s in split(messages, {"en": 1})[0]["en"])
    kept = shard.filter(pc.equal(shard["message_id"], "h")).to_pylist()[0]
    assert (kept["text"], kept["status"], kept["reasons"], kept["model"]) == (
        german["text"],
        "flagged",
        ["kept: de"],
        None,
    )
    assert combined([shard])[1].models == {"m@1": 1}
    figures = quality_report.report([shard], "pt")["total"]
    assert figures["model"] == {"m@1": 1} and figures["reasons"]["kept: de"]["messages"] == 1


def test_dropped_flagged_messages_are_still_accounted_for(messages):
    tables, counts = split(messages, {"en": 1})
    loop = shards.translate(tables["en"][0], "pt", translator(lambda batch: ["isto " * 9 for _ in batch]), "direct")
    entry = combine.account(counts, combined([loop], "drop")[1])["train"]["en"]
    assert entry["status"]["flagged"] == 3
    assert entry["out"] == 1


def test_a_long_tree_among_short_ones_is_in_the_scope_as_in_the_threads():
    rows = [row(f"q{at}", text="Hi!") for at in range(3_000)]
    for at in range(3_802):
        role = "assistant" if at % 2 else "prompter"
        rows.append(row(f"L{at}", f"L{at - 1}" if at else None, "L", role, text="Hi!", created_date=str(at)))
        if at % 4 == 2 and at < 3_600:
            rows[-1]["parent_id"] = f"L{at - 1}"
    table = pa.Table.from_pylist([one | {"split": "train", "source_lang": "en"} for one in rows], schema=MESSAGES)
    ((kept,),) = split(table, {"en": 1}, "all")[0].values()
    assert len(kept) == 3_802


def test_no_shard_is_written_before_all_sources_are_read(messages, tmp_path):
    write_table(messages, tmp_path / "a.parquet")
    roles = pa.array(["prompter"] * (len(messages) - 1) + ["user"])
    write_table(messages.set_column(messages.column_names.index("role"), "role", roles), tmp_path / "b.parquet")
    done = subprocess.run(
        [sys.executable, "scripts/split.py", "--messages", tmp_path / "a.parquet", tmp_path / "b.parquet", "--names", "a", "b",
         "--shards", "a/en=2", "b/en=1", "--counts", tmp_path / "counts.json", "--output", tmp_path / "shards"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and f"{tmp_path}/b.parquet: row 7: unknown role 'user'" in done.stderr
    assert not (tmp_path / "shards").exists()
