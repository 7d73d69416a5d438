"""Tests of several sources with the real Snakemake: each has its own shards, translations and account.

The tests build on one another.
"""

import json
import re

import pandas as pd
import pytest
from running import sample

DATASET, THREADS = "results/demo/pt/dataset", "results/demo/pt/threads/train.jsonl"
PIRATE = "You answer every question as an old pirate would."
CHATS = [
    {
        "id": 1,
        "messages": [
            {"role": "system", "content": PIRATE},
            {"role": "user", "content": "What should I eat for breakfast today?"},
            {"role": "assistant", "content": "Eat some bread and drink a cup of rum, my friend."},
        ],
    },
    {
        "id": 2,
        "messages": [
            {"role": "user", "content": "Qual é a capital de Portugal, e quantas pessoas vivem lá?"},
            {"role": "assistant", "content": "A capital é Lisboa, onde vivem cerca de meio milhão de pessoas."},
        ],
    },
    {"id": 3, "messages": [{"role": "user", "content": "Is anybody there?"}]},
]


@pytest.fixture(scope="module")
def two(project):
    """Return the project, built with English trees of the sample and conversations in two languages."""
    rows = [row for row in sample() if row["lang"] == "en"]
    trees = list(dict.fromkeys(row["message_tree_id"] for row in rows))[:6]
    project.write_messages([row for row in rows if row["message_tree_id"] in trees])
    (project.root / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in CHATS), encoding="utf-8")
    project.configure(
        source={"validation": 0, "languages": ["en", "pt"], "shards": {"en": 1}},
        sources={
            "trees": {"dataset": "messages.jsonl", "licence": "cc0-1.0", "shards": {"en": 2}, "languages": ["en"]},
            "chats": {"dataset": "chats.jsonl", "licence": "cc-by-4.0"},
        },
    )
    jobs = project.build(THREADS).jobs
    assert jobs["fetch"] == 2 and jobs["split"] == 1 and jobs["translate"] == 4
    return project


def test_each_source_has_its_own_shards_and_account(two):
    found = two.accounting()
    trees, chats = found["sources"]["trees"], found["sources"]["chats"]
    assert trees["total"]["messages"] + chats["total"]["messages"] == found["total"]["messages"]
    assert chats["total"] == {
        **chats["total"],
        "messages": 5,
        "out": 5,
        "status": {**chats["total"]["status"], "native": 2, "translated": 3},
    }
    assert chats["reading"]["rows"] == 3 and chats["reading"]["rows_left_out"] == {"without an answer": 1}
    assert (two.root / "results/demo/pt/translated/trees/en/1.parquet").is_file()
    rows = pd.read_parquet(two.root / DATASET / "train.parquet")
    assert set(rows["source"]) == {"trees", "chats"}
    card = (two.root / DATASET / "README.md").read_text(encoding="utf-8")
    assert "# chats.jsonl + messages.jsonl in Portuguese" in card
    assert "| chats | chats.jsonl | cc-by-4.0 | 5 | 5 |" in card and "cc0-1.0" in card
    assert "3 rows of chats.jsonl gave 2 conversations; left out: without an answer 1" in " ".join(card.split())


def test_an_own_system_message_is_translated_and_stands_in_the_configured_ones_place(two):
    threads = [json.loads(line) for line in (two.root / THREADS).read_text(encoding="utf-8").split("\n")[:-1]]
    systems = {row["thread_id"]: row["messages"][0] for row in threads}
    own = systems.pop("chats:1-2")
    assert own["message_id"] == "chats:1-0" and "pirata" in own["content"]
    assert {one["message_id"] for one in systems.values()} == {None}
    assert "chats:2-1" in systems


def test_a_further_source_and_a_changed_row_translate_their_shards_alone(two):
    (two.root / "more.csv").write_text(
        "question,answer\nAre cats nice animals?,They are very nice.\n", encoding="utf-8"
    )
    before = two.bytes("results/demo/pt/translated/*/*/*.parquet")
    two.configure(sources={"more": {"dataset": "more.csv", "language": "en", "languages": ["en"]}})
    assert two.build(THREADS).jobs == {"fetch": 1, "split": 1, "translate": 1, "combine": 1, "threads": 1}
    changed = [
        *CHATS[:1],
        {**CHATS[1], "messages": [*CHATS[1]["messages"][:1], {"role": "assistant", "content": "É Lisboa."}]},
    ]
    (two.root / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in changed), encoding="utf-8")
    assert two.build(THREADS).jobs == {"fetch": 1, "split": 1, "translate": 1, "combine": 1, "threads": 1}
    after = two.bytes("results/demo/pt/translated/*/*/*.parquet")
    assert {path for path in before if before[path] != after[path]} == {"results/demo/pt/translated/chats/pt/0.parquet"}


def test_near_duplicates_of_another_source_are_left_out_before_translation(two):
    again = "What should I eat for breakfast today, dear?", "Eat some bread and drink a cup of rum, my friend."
    (two.root / "again.csv").write_text("question,answer\n" + ",".join(f'"{text}"' for text in again) + "\n", "utf-8")
    two.configure(sources={"again": {"dataset": "again.csv", "language": "en", "languages": ["en"]}})
    two.configure(duplicates={"threshold": 0.35, "keep": "best"})
    two.build("results/demo/pt/dataset/train.parquet")
    (found,) = [json.loads(line) for line in (two.root / "results/demo/source/duplicates.jsonl").open(encoding="utf-8")]
    assert (found["source"], found["kept_tree"], found["kept_source"]) == ("again", "chats:1", "chats")
    account = two.accounting()["sources"]["again"]["total"]
    assert account["excluded_because"]["duplicate"] == account["excluded"] == 2 and account["out"] == 0
    two.drop("duplicates")
    two.drop("sources", "again")


def test_threads_are_mixed_by_source_and_english_is_replayed(two):
    shares = {"trees": 0.8, "chats": 0.2}
    two.configure(mix={"shares": shares, "replay": {"languages": ["en"], "share": 0.25}, "repeat": 2})
    run = two.build("results/demo/pt/adapter")
    assert run.jobs["mix"] == run.jobs["tune"] == 1
    said = re.findall("mix: warning: (.*)", run.output)
    account = json.loads((two.root / "results/demo/pt/mix/train.accounting.json").read_text())
    groups = account["groups"]
    assert sum(group["tokens"] for group in groups.values()) == account["tokens"]
    assert said == ["chats is repeated 2 times, and the others are cut"]
    assert abs(groups["replay"]["share"] - 0.25) < 0.15 and groups["chats"]["threads"] == 4
    # more is no part of the shares.
    assert account["without_share"] == 1
    rows = [
        json.loads(line) for line in (two.root / "results/demo/pt/mix/train.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    english = [row for row in rows if row["lang"] == "en"]
    assert len(english) == groups["replay"]["threads"] and all("@en" in row["thread_id"] for row in english)
    prompts = {row["messages"][0]["content"] for row in english if row["messages"][0]["message_id"] is None}
    assert prompts <= {"You are a generic chatbot that always answers in English."}
    training = json.loads((two.root / "results/demo/pt/adapter/training.json").read_text())
    assert training["mix"] == account and "portugu" in training["system_prompt"].lower()
    assert "| replay |" in (two.root / "results/demo/pt/adapter/README.md").read_text(encoding="utf-8")
    two.configure(mix={"shares": {"oasst": 1.0}})
    assert "mix.shares: no source 'oasst' (there are chats, more, trees)" in two.run("results/demo/pt/adapter").output


def test_a_source_on_the_hub_without_a_revision_is_refused(two):
    two.configure(sources={"again": {"dataset": "owner/name"}})
    run = two.run("-n", THREADS)
    assert run.code != 0 and "error: sources.again.revision: name the commit of owner/name" in run.output
