"""Shards and the dataset: every message comes back, and the account of them adds up."""

import pytest
from oasst import row, write

from mothertongue import cards, dataset, shards, source
from mothertongue.errors import UserError
from mothertongue.messages import TRANSLATED, divide
from mothertongue.quality import Limits

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


@pytest.fixture
def messages(tmp_path):
    return source.combine_splits({"train": source.read_file(write(tmp_path / "m.jsonl", *ROWS))}, 0.0)


@pytest.fixture
def translated(messages):
    en = [shards.translate(s, "pt", upper, "m@1", Limits()) for s in divide(messages, "en", 3)]
    pt = [shards.keep(s, "pt") for s in divide(messages, "pt", 1)]
    es = [shards.give_up(s, "pt") for s in divide(messages, "es", 1)]
    return [*en, *pt, *es]


COUNTS = {"train": {"en": 4, "pt": 1, "es": 1, "de": 1}, "validation": {}}
LANGUAGES = ["en", "pt", "es"]


def test_each_shard_keeps_its_messages_in_order(messages):
    for number, shard in enumerate(divide(messages, "en", 3)):
        result = shards.translate(shard, "pt", upper, "m@1", Limits())
        assert result.schema.equals(TRANSLATED)
        assert result["message_id"].to_pylist() == shard["message_id"].to_pylist(), number
        assert result["source_text"].to_pylist() == shard["text"].to_pylist()
        assert set(result["lang"].to_pylist()) <= {"pt"}


def test_statuses_and_routes(translated):
    rows = {row["message_id"]: row for table in translated for row in table.to_pylist()}
    seen = {key: (r["status"], r["route"], r["model"], r["text"]) for key, r in rows.items()}
    assert seen == {
        "a": ("translated", "direct", "m@1", "GOOD MORNING."),
        "b": ("translated", "direct", "m@1", "GOOD MORNING TO YOU."),
        "c": ("native", "native", None, "Bom dia."),
        "d": ("failed", "none", None, None),
        "f": ("copied", "direct", "m@1", ""),
        "g": ("failed", "direct", "m@1", None),
    }
    assert rows["d"]["reasons"] == ["no route"]


def test_a_pivot_keeps_the_source_and_names_both_models(messages):
    (shard,) = divide(messages, "en", 1)
    english = shards.translate(shard, "en", upper, "first@1", Limits())
    result = shards.translate_pivot(english, "pt", lambda batch: [s + "!" for s in batch], "second@2", Limits())
    rows = {row["message_id"]: row for row in result.to_pylist()}
    assert rows["a"] | {"text": "GOOD MORNING.!", "source_text": "Good morning.", "route": "pivot"} == rows["a"]
    assert rows["a"]["model"] == "first@1+second@2"
    assert (rows["g"]["status"], rows["g"]["text"]) == ("failed", None)
    assert rows["g"]["reasons"] == ["pivot: empty translation"]
    assert rows["f"]["status"] == "copied"


def test_the_account_adds_up(translated):
    splits = dataset.combine(translated, "keep")
    accounting = dataset.account(COUNTS, LANGUAGES, translated, splits)
    total = accounting["total"]
    assert total["messages"] == sum(total["status"].values()) + total["excluded"] == 7
    assert total["excluded"] == accounting["train"]["de"]["excluded"] == 1
    assert total["out"] == splits["train"].num_rows == 6
    card = cards.dataset_card("pt", "Portuguese", "sample", "cc0-1.0", accounting, dataset.models_used(splits))
    assert "7 messages in, 6 in the dataset" in card


def test_a_missing_message_stops_the_build(translated):
    first = next(number for number, table in enumerate(translated) if len(table))
    short = [table.slice(1) if number == first else table for number, table in enumerate(translated)]
    with pytest.raises(UserError, match="4 messages went in, 3 came out"):
        dataset.account(COUNTS, LANGUAGES, short, dataset.combine(short, "keep"))
    no_english = [table for table in translated if table.num_rows and table["source_lang"][0].as_py() != "en"]
    with pytest.raises(UserError, match="4 messages went in, 0 came out"):
        dataset.account(COUNTS, LANGUAGES, no_english, dataset.combine(no_english, "keep"))


def test_flagged_messages_can_be_dropped_and_stay_accounted_for(messages):
    (shard,) = divide(messages, "en", 1)
    loop = shards.translate(shard, "pt", lambda batch: ["isto " * 9 for _ in batch], "m@1", Limits())
    splits = dataset.combine([loop], "drop")
    counts = {"train": {"en": 4}, "validation": {}}
    entry = dataset.account(counts, ["en"], [loop], splits)["train"]["en"]
    assert entry["status"]["flagged"] == 3
    assert entry["out"] == 1
