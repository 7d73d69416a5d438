"""Tests of a teacher that answers, with the real Snakemake: what is asked, what says so, and what makes it stale."""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter

import pyarrow.parquet as pq
import pytest
from endpoint import Endpoint, Reply
from endpoint_site import make_site, poorly
from running import processes
from witness import KEY

DATASET = "results/pt/dataset/README.md"
THREADS = "results/pt/threads/train.jsonl"
PREFERENCES = "results/pt/preferences/train.jsonl"
ADAPTER = "results/pt/adapter"
TEACHER = "Big/Teacher 70B"


def reply(body, number):
    """Translate poorly, or answer slowly."""
    if body["model"] != TEACHER:
        return poorly(body, number)
    return Reply(f"Esta é a resposta à conversa de {len(body['messages'])} mensagens, escrita em português.", after=0.3)


@pytest.fixture(scope="module")
def server():
    with Endpoint(reply) as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory, server, tiny_base):
    config = {
        "answers": "teacher",
        "source": {"dataset": "messages.jsonl", "languages": ["en", "pt"], "shards": {"en": 1}, "scope": "threads"},
        "translation": {"engine": "endpoint", "endpoint": {"url": server.url, "model": "Some/Model 7B"}},
        "teacher": {"endpoint": {"url": server.url, "model": TEACHER, "licence": "their terms", "concurrency": 2}},
        "threads": {"prompt_format": "chatml"},
        "tuning": {"base_model": str(tiny_base), "max_steps": 2, "max_length": 256, "lora": {"rank": 4}},
    }
    with pytest.MonkeyPatch.context() as patch:
        yield make_site(tmp_path_factory.mktemp("teacher"), config, patch)


def teach(site, endpoint=None, **values):
    own = site.configured("teacher")
    site.configure(teacher=values | {"endpoint": own["endpoint"] | (endpoint or {})})


def asked_of(server, model):
    return [body for body in server.bodies if body["model"] == model]


@pytest.fixture(scope="module")
def built(site, server):
    """Return a run that goes on after one whose teacher's job was killed, and the requests until then."""
    process = subprocess.Popen(
        site.command(THREADS),
        cwd=site.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while len(asked_of(server, TEACHER)) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    for pid in processes(r"scripts/answer\.py", site.root):
        os.kill(pid, signal.SIGKILL)
    asked = len(asked_of(server, TEACHER))
    process.wait(timeout=120)
    return site.build(THREADS, DATASET), asked


def rows_of(site, folder, shard="en/0"):
    return pq.read_table(site.root / f"results/pt/{folder}/{shard}.parquet").to_pylist()


def test_only_what_users_wrote_is_translated_and_a_teacher_answers_it(site, server, built):
    translated, answered = rows_of(site, "translated"), rows_of(site, "answered")
    replies = [row for row in translated if row["role"] == "assistant"]
    assert {(row["status"], row["text"]) for row in replies} == {("awaiting", None)} and len(replies) > 5
    assert not {row["status"] for row in translated if row["role"] == "prompter"} & {"awaiting", "failed"}
    assert [row for row in answered if row["role"] == "prompter"] == [row for row in translated if row not in replies]
    taught = {row["message_id"]: row for row in answered if row["role"] == "assistant"}
    assert {(row["status"], row["model"]) for row in taught.values()} == {("answered", f"{TEACHER}@teacher")}
    threads = [json.loads(line) for line in (site.root / THREADS).read_text(encoding="utf-8").splitlines()]
    said = {one["message_id"]: one["content"] for thread in threads for one in thread["messages"]}
    used = said.keys() & taught.keys()
    assert len(used) > 5 and all(said[name] == taught[name]["text"] for name in used)
    # A native reply stays as its writer wrote it.
    native = rows_of(site, "answered", "pt/0")
    assert {row["status"] for row in native} == {"native"} and "assistant" in {row["role"] for row in native}
    assert native == rows_of(site, "translated", "pt/0")


def test_a_killed_job_asks_again_only_for_what_was_on_its_way(site, server, built):
    asked = Counter(json.dumps(body["messages"]) for body in asked_of(server, TEACHER))
    assert 2 < built[1] < asked.total() <= len(asked) + 2
    record = json.loads((site.root / "results/benchmarks/pt/answered/en/0.endpoint.json").read_text())
    assert record["requests"] == len(asked) and record["output_tokens"] == 5 * record["requests"]


def test_account_and_card_say_who_wrote_the_replies(site, built):
    count = sum(row["status"] == "answered" for row in rows_of(site, "answered"))
    accounting = json.loads((site.root / "results/pt/dataset/accounting.json").read_text())
    assert accounting["total"]["status"]["answered"] == accounting["total"]["route"]["teacher"] == count
    assert accounting["answered_by"] == {f"{TEACHER}@teacher": count}
    card = (site.root / DATASET).read_text(encoding="utf-8")
    assert re.search(rf"written by a model, not by people\W+of its messages,\s+{count} by {TEACHER}@teacher", card)
    assert f"{TEACHER}@teacher: their terms" in card and f"answered_by: [{TEACHER}@teacher]" in card


def test_a_second_run_with_the_answers_gives_the_same_bytes_and_asks_for_nothing(site, server, built):
    before, asked = site.bytes("results/pt/answered/**/*.parquet"), len(server.bodies)
    path = site.root / "results/pt/answered/en/0.parquet"
    path.unlink()
    assert site.build(str(path.relative_to(site.root))).jobs == {"answer": 1}
    assert site.bytes("results/pt/answered/**/*.parquet") == before and len(server.bodies) == asked
    # What depends on it is older now.
    site.build(THREADS, DATASET)


def test_the_card_that_tuning_writes_names_the_teacher_and_its_licence(site, built):
    assert site.build(ADAPTER).jobs == {"threads": 1, "fetch_base_model": 1, "tune": 1}
    card = (site.root / ADAPTER / "README.md").read_text(encoding="utf-8")
    assert f"written by a model, not by people**: {TEACHER}@teacher." in " ".join(card.split())
    assert f"\n- {TEACHER}@teacher: their terms\n" in card
    record = json.loads((site.root / ADAPTER / "training.json").read_text())
    assert record["teachers"] == {f"{TEACHER}@teacher": "their terms"}
    assert site.build(ADAPTER).jobs == {}


def stale(site):
    """Return the rules that a dry run would run."""
    output = site.build("-n", THREADS).output
    table = output.rpartition("Job stats:")[2]
    return {name for name in re.findall(r"^(\w+) +\d+$", table, re.MULTILINE) if name != "total"}


DOWNSTREAM = {"combine", "threads"}


def test_what_decides_the_answers_makes_them_stale_and_nothing_else(site, server, built):
    teach(site, {"url": "http://localhost:9/v1", "concurrency": 5, "timeout": 7, "max_cost": 1.0, "price_input": 1.0})
    assert stale(site) == set()
    teach(site, instructions="Be brief.")
    assert stale(site) == {"answer"} | DOWNSTREAM
    teach(site, {"model": "Another", "url": server.url, "concurrency": 2, "max_cost": None}, instructions="")
    assert stale(site) == {"describe_endpoint", "answer"} | DOWNSTREAM
    teach(site, {"model": TEACHER})


def test_the_key_is_with_the_jobs_that_ask_the_server_alone_and_in_no_file(site, server, built):
    assert {headers.get("authorization") for headers in server.headers} == {f"Bearer {KEY}"}
    seen = [json.loads(line) for line in (site.root / "witnessed.jsonl").read_text().splitlines()]
    assert {program for program, has in seen if has} == {"translate.py", "answer.py"}
    files = [path for path in site.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()] and KEY not in built[0].output


def test_preferences_compare_the_answer_with_the_translation_of_the_reply(site, server, built):
    run = site.run("-n", PREFERENCES)
    assert run.code != 0 and "error: answers: teacher has one reply to each question, and preferences" in run.output
    answers, asked = (
        {row["message_id"]: row["text"] for row in rows_of(site, "answered")},
        len(asked_of(server, TEACHER)),
    )
    teach(site, preferences=True)
    site.build(PREFERENCES, DATASET)
    # The questions are the same, so the answers are the kept ones.
    assert len(asked_of(server, TEACHER)) == asked
    assert {row["message_id"]: row["text"] for row in rows_of(site, "answered")} == answers
    translated = {row["message_id"]: row for row in rows_of(site, "translated")}
    pairs = [json.loads(line) for line in (site.root / PREFERENCES).read_text(encoding="utf-8").splitlines()]
    # The translations of longer replies repeat themselves: what a check flagged is not compared.
    usable = [name for name, row in translated.items() if row["role"] == "assistant" and row["status"] == "translated"]
    assert pairs and {pair["message_ids"][-1] for pair in pairs} <= set(usable)
    for pair in pairs:
        *_, chosen, rejected = pair["message_ids"]
        assert chosen == rejected and pair["chosen"][0]["content"] == answers[chosen]
        assert (
            pair["rejected"][0]["content"] == translated[chosen]["text"]
            and translated[chosen]["status"] == "translated"
        )
    accounting = json.loads((site.root / PREFERENCES).with_suffix(".accounting.json").read_text())
    assert accounting["replies"]["chosen"] == accounting["replies"]["rejected"] == accounting["pairs"] == len(pairs)
    card = (site.root / DATASET).read_text(encoding="utf-8")
    assert "written by a model, not by people" in card
    teach(site, preferences=False)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"source": {"scope": "all"}}, "error: answers: teacher asks for the replies that threads use alone"),
        ({"teacher": {"endpoint": {}}}, "error: teacher.endpoint.model is missing"),
        ({"teacher": {"max_tokens": 8000}}, "error: teacher.max_tokens leaves 192 tokens of teacher.endpoint.window"),
    ],
)
def test_a_wrong_configuration_is_one_line_before_anything_runs(site, built, values, said):
    before = (site.root / "mine.yaml").read_text()
    site.configure(**values)
    run = site.run("-n", THREADS)
    (site.root / "mine.yaml").write_text(before)
    assert run.code != 0 and said in run.output, run
