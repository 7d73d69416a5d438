"""Tests of the fetch programs with a local hub and the hub's real client: revisions, resuming, retries, refusals."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hub import Hub
from steps import fetched
from tiny_translation import save_marian

from mothertongue.formats.messages import OASST

SAMPLE = Path("config/demo/messages.jsonl")
BASE = ("fetch_base_model.py", "--model")
DATASET = ("fetch.py", "--dataset")
TEMPLATE = ("fetch_chat_template.py", "--templates", "config/templates", "--model")
OPUS = ("fetch_translation_model.py", "--engine", "opus-mt", "--model")


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def fetch(hub, tmp_path):
    """Return a function that runs a fetch program with the local hub."""

    def run(program, *arguments, token=None):
        command = [sys.executable, f"scripts/{program}", *arguments, "--output", tmp_path / "out"]
        environment = os.environ | hub.environment(tmp_path / "home", token)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    return run


def refusal(done, folder):
    """Assert that a program ended with one error line and left no files; return the line."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if "it/s]" not in line and line]
    assert len([line for line in lines if "error:" in line]) == 1 and "error:" in lines[-1], done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert not (folder / "out").exists() and not list(folder.glob(".out.partial"))
    return lines[-1]


def split_sample(tmp_path):
    """Return the sample as a table, and as two Parquet files in the hub's layout."""
    table, files = fetched(SAMPLE).select(OASST.names), {}
    trees = table["message_tree_id"].to_pylist()
    first = trees.index(trees[300])
    for split, part in (("train", table.slice(0, first)), ("validation", table.slice(first))):
        name = f"data/{split}-00000-of-00001-abc.parquet"
        pq.write_table(part, tmp_path / "part.parquet")
        files[name] = (tmp_path / "part.parquet").read_bytes()
    return table, files


@pytest.mark.parametrize(
    ("program", "name", "expected"),
    [
        (BASE, "owner/gated", "licence must be accepted on its page, and HF_TOKEN be set"),
        (BASE, "owner/private", "there is no such model, or it is private: check its name, or set HF_TOKEN"),
        (BASE, "owner/open@old", "the revision does not exist (any more): name another"),
        (BASE, "owner/open", "no weights in safetensors or GGUF"),
        (DATASET, "owner/none", "there is no such dataset, or it is private"),
        (DATASET, "owner/strange", "No (supported) data files found"),
        (DATASET, "owner/spoilt", "owner/spoilt: data/train.jsonl: no format fits its columns ('text')"),
        (DATASET, "owner/scripted", "it is loaded by a program of its own (scripted.py), which is never run"),
        (DATASET, "owner/linked", "its card names a file that is not its own ('http://127.0.0.1:9/a.jsonl')"),
        (DATASET, "owner/borrowed", "its card names a file that is not its own ('hf://datasets/owner/spoilt/data/"),
        (DATASET, "owner/outside", "its card names a file that is not its own ('../../etc/passwd')"),
        (DATASET, "owner/chats", "owner/chats: name one of its configurations by source.configuration: sft, other"),
        ((*DATASET[:1], "--configuration", "stf", *DATASET[1:]), "owner/chats", "by source.configuration: sft, other"),
        (
            (*DATASET[:1], "--configuration", "sft", *DATASET[1:]),
            "owner/chats",
            "owner/chats: no train split; name one by source.split (it has train_sft, test_sft)",
        ),
        (DATASET, "owner/odd", "owner/odd: its files are not understood ("),
    ],
)
def test_refusals_of_the_hub_are_reported_in_one_line(hub, fetch, tmp_path, program, name, expected):
    hub.add("model", "owner/gated", {"config.json": b"{}"}, gated=True)
    hub.add("model", "owner/private", {"config.json": b"{}"}, private=True)
    hub.add("model", "owner/open", {"config.json": b"{}"})
    add_chats(hub)
    hub.add("dataset", "owner/strange", {"data.xyz": b"?"})
    spoilt = {"data/train.jsonl": b'{"text": "a"}\n'}
    hub.add("dataset", "owner/spoilt", spoilt)
    hub.add("dataset", "owner/scripted", spoilt | {"scripted.py": b"raise SystemExit('it ran')"})
    for owner, files in {
        "linked": "http://127.0.0.1:9/a.jsonl",
        "borrowed": "hf://datasets/owner/spoilt/data/train.jsonl",
        "outside": "../../etc/passwd",
        "odd": "[{split: [], path: 3}]",
    }.items():
        card = f"---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n"
        hub.add("dataset", f"owner/{owner}", spoilt | {"README.md": card.encode()})
    done = fetch(*program, name)
    line = refusal(done, tmp_path)
    assert expected in line and name.partition("@")[0] in line


def test_an_unknown_token_is_reported_without_showing_it(hub, fetch, tmp_path):
    hub.add("model", "owner/open", {"config.json": b"{}"})
    done = fetch(*BASE, "owner/open", token="hf_wrong")
    assert "the hub does not accept the token in HF_TOKEN" in refusal(done, tmp_path)
    assert "hf_wrong" not in done.stdout + done.stderr


@pytest.mark.parametrize("place", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "home/token"])
def test_an_invalid_token_is_neither_sent_nor_shown(hub, fetch, tmp_path, monkeypatch, place):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HF_DEBUG", "1")
    for program, token in zip(
        (BASE, DATASET, TEMPLATE, OPUS),
        ("hf_one\nhf_secret", "hf_one hf_secret", "“hf_secret”", "hf_sécret"),
        strict=True,
    ):
        if place == "home/token":
            (tmp_path / place).write_text(token, encoding="utf-8")
        else:
            monkeypatch.setenv(place, token)
        done = fetch(*program, "owner/open", token=token if place == "HF_TOKEN" else None)
        assert f"{place} is not a token" in refusal(done, tmp_path)
        assert not re.search("s.?cret", done.stdout + done.stderr)
    assert not hub.log


def test_no_message_contains_the_token(hub, fetch, tmp_path, monkeypatch):
    """Not even with HF_DEBUG and a hub that refuses, which make the client log its requests."""
    hub.add("model", "owner/private", {"config.json": b"{}"}, private=True)
    hub.trouble("GET .*", status=503, headers={"Retry-After": "0"}, times=2)
    hub.tokens["hf_secret-~!"] = "others"
    monkeypatch.setenv("HF_DEBUG", "1")
    for program in (BASE, DATASET, TEMPLATE, OPUS):
        done = fetch(*program, "owner/private", token="hf_secret-~!")
        assert done.returncode == 1 and "secret" not in done.stdout + done.stderr
    assert hub.log


def test_the_locked_revision_is_fetched_again_and_changed_files_of_it_are_refused(hub, fetch, tiny_base, tmp_path):
    lock, out = tmp_path / "models" / "lock.json", tmp_path / "out"
    first = hub.add_folder("model", "owner/tiny", tiny_base).head.sha
    locked = (*BASE, "owner/tiny", "--lock", lock)
    assert fetch(*locked).returncode == 0
    entry = json.loads(lock.read_text())["owner/tiny"]
    assert entry["revision"] == first and set(entry["files"]) >= {"config.json", "model.safetensors"}
    shutil.rmtree(out)
    newest = hub.repos["model", "owner/tiny"].put({"README.md": b"---\nlicense: mit\n---\n"}).sha
    assert fetch(*locked).returncode == 0
    record = json.loads((out / "fetched.json").read_text())
    assert (record["reference"], record["revision"]) == ("owner/tiny", first)
    shutil.rmtree(out)
    assert fetch(*BASE, "owner/tiny").returncode == 0
    assert json.loads((out / "fetched.json").read_text())["revision"] == newest
    shutil.rmtree(out)
    # Simulate a hub (or an impostor) that serves other files for the same commit.
    lock.write_text(lock.read_text().replace(entry["files"]["model.safetensors"], "0" * 64))
    line = refusal(fetch(*locked), tmp_path)
    assert f"model.safetensors is not what {lock} has of revision {first}" in line and "delete the entry" in line
    lock.write_text('{"owner/tiny": {"revision": 1}}')
    assert f"{lock}: damaged; mend it, or delete it" in refusal(fetch(*locked), tmp_path)


def test_the_template_and_the_base_model_are_from_the_same_commit(hub, tiny_base, tmp_path):
    """The repository gets a new commit between the two fetches."""
    repo = hub.add_folder("model", "owner/tiny", tiny_base)
    revisions = []
    for program, *options in (("fetch_chat_template", "--templates", "config/templates"), ("fetch_base_model",)):
        command = [sys.executable, f"scripts/{program}.py", "--model", "owner/tiny", *options]
        command += ["--lock", tmp_path / "lock.json", "--output", tmp_path / program]
        done = subprocess.run(
            command, env=os.environ | hub.environment(tmp_path / "home"), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        revisions.append(json.loads((tmp_path / program / "fetched.json").read_text())["revision"])
        repo.put({"README.md": f"after {program}".encode()})
    assert len(set(revisions)) == 1


def test_a_base_model_is_fetched_completely_despite_errors(hub, fetch, tiny_base, tmp_path):
    """The hub is busy at every step and cuts off a file; afterwards the branch gets a new commit."""
    repo = hub.add_folder("model", "owner/tiny", tiny_base)
    hub.tokens["hf_reader"] = "reader"
    large = bytes(range(256)) * 100_000
    card = b"---\nlicense: llama2\n---\n"
    commit = repo.put({"README.md": card, "original/weights.bin": b"not this", "more.safetensors": large})
    hub.trouble("GET /api/models/owner/tiny", status=503)
    hub.trouble("GET .*/tree/", status=429, headers={"Retry-After": "1"})
    hub.trouble("HEAD .*tokenizer.json", status=500)
    hub.trouble("GET .*config.json", status=502, headers={"Retry-After": "2"})
    hub.trouble("GET .*more.safetensors", cut=True)
    started = time.monotonic()
    done = fetch(*BASE, "owner/tiny", token="hf_reader")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started > 4  # the time that Retry-After asked for
    record = json.loads((tmp_path / "out" / "fetched.json").read_text())
    assert record["revision"] == commit.sha and record["licence"] == "llama2"
    assert (tmp_path / "out" / "more.safetensors").read_bytes() == large
    assert record["files"]["more.safetensors"] == hashlib.sha256(large).hexdigest()
    # Data already received is not sent again; the client resumes at a multiple of 10 MB.
    assert len(hub.asked("GET .*more.safetensors")) == 2 and hub.asked("GET .*more.safetensors bytes=10485760-$")
    assert not hub.asked("GET .*original")
    assert not list(tmp_path.glob(".out*"))
    # The pinned commit is fetched although the branch has a newer one.
    repo.put({"config.json": b"{}"})
    again = fetch(*BASE, f"owner/tiny@{commit.sha}", token="hf_reader")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "out" / "fetched.json").read_text())["files"] == record["files"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_a_wrong_checksum_is_refused(hub, fetch, tiny_base, tmp_path, name):
    repo = hub.add_folder("model", "owner/tiny", tiny_base)
    hub.trouble(f"GET .*/{name}", wrong=bytes(len(repo.head.files[name].content)))
    line = refusal(fetch(*BASE, "owner/tiny"), tmp_path)
    assert f"owner/tiny: {name} came with another checksum than the hub has of it; fetch it again" in line


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "fp8"])
def test_a_quantised_base_model_is_refused_before_its_weights_are_fetched(hub, fetch, tiny_base, tmp_path, method):
    config = json.loads((tiny_base / "config.json").read_text())
    content = json.dumps(config | {"quantization_config": {"quant_method": method}}).encode()
    hub.add_folder("model", "owner/packed", tiny_base).put({"config.json": content})
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "config.json").write_bytes(content)
    for name in ("owner/packed", str(tmp_path / "packed")):
        line = refusal(fetch(*BASE, name), tmp_path)
        assert f"'{name}': its weights come quantised ({method})" in line and "tuning.quantization to nf4" in line
    assert not hub.asked("GET .*safetensors") and not list(tmp_path.glob(".out*"))


def test_an_interrupted_download_resumes_with_the_files_already_fetched(hub, fetch, tiny_base, tmp_path):
    repo = hub.add_folder("model", "owner/tiny", tiny_base)
    hub.trouble("GET .*model.safetensors", status=503, headers={"Retry-After": "0"}, times=5)
    assert "503" in refusal(fetch(*BASE, "owner/tiny"), tmp_path)
    asked = len(hub.asked("GET .*tokenizer.json"))
    # From a newer commit, only changed files are fetched, and the configuration, which is checked first.
    repo.put({"config.json": repo.head.files["config.json"].content + b"\n"})
    done = fetch(*BASE, "owner/tiny")
    assert done.returncode == 0, done.stderr
    assert len(hub.asked("GET .*tokenizer.json")) == asked == 1 and len(hub.asked("GET .*/config.json")) == 4
    assert json.loads((tmp_path / "out" / "fetched.json").read_text())["revision"] == repo.head.sha
    assert not list(tmp_path.glob(".out*"))


def test_a_hub_that_stays_busy_is_reported_after_five_tries(hub, fetch, tmp_path):
    hub.add("model", "owner/open", {"config.json": b"{}"})
    hub.trouble("GET /api/models", status=503, headers={"Retry-After": "0"}, times=9)
    started = time.monotonic()
    line = refusal(fetch(*BASE, "owner/open"), tmp_path)
    assert "503" in line and "without a network, fetch it elsewhere" in line
    assert len(hub.asked("GET /api/models")) == 5 and time.monotonic() - started < 60


def test_a_translation_model_is_fetched_from_the_hub_and_converted(hub, fetch, tmp_path):
    (tmp_path / "marian").mkdir()
    save_marian(tmp_path / "marian")
    repo = hub.add_folder("model", "owner/en-pt", tmp_path / "marian")
    repo.put({"README.md": b"---\nlicense: cc-by-4.0\n---\n"})
    hub.trouble("GET /api/models/owner/en-pt", status=429, headers={"Retry-After": "0"})
    done = fetch("fetch_translation_model.py", "--engine", "opus-mt", "--model", "owner/en-pt")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "fetched.json").read_text())
    assert record["revision"] == repo.head.sha and record["licence"] == "cc-by-4.0"
    assert (tmp_path / "out" / "model.bin").is_file()


def test_a_chat_template_is_fetched_without_weights(hub, fetch, tiny_base, tmp_path):
    repo = hub.add_folder("model", "owner/tiny", tiny_base)
    done = fetch("fetch_chat_template.py", "--templates", "config/templates", "--model", "owner/tiny")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "fetched.json").read_text())["revision"] == repo.head.sha
    assert not hub.asked("GET .*safetensors")


def test_a_dataset_is_fetched_from_the_given_revision(hub, fetch, tmp_path):
    table, files = split_sample(tmp_path)
    repo = hub.add("dataset", "owner/trees", files | {"other.jsonl.gz": b"an export that is no split"})
    old = repo.head.sha
    repo.put({"data/train-00000-of-00001-abc.parquet": b"another day"})
    hub.trouble("GET /api/datasets/owner/trees/revision", status=500, times=2)
    hub.trouble("GET .*/train-", cut=True)
    hub.trouble("GET .*/validation-", status=503)
    done = fetch(*DATASET, "owner/trees", "--revision", old, "--record", tmp_path / "fetched.json")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "out")
    assert rows.select(table.column_names).equals(table)
    assert {"train", "validation"} == set(rows["split"].to_pylist())
    record = json.loads((tmp_path / "fetched.json").read_text())
    assert record["resolved"] == {
        f"hf://datasets/owner/trees@{old}/{name}": f"sha256:{hashlib.sha256(content).hexdigest()}"
        for name, content in files.items()
    }
    assert not hub.asked("GET .*resolve.*other")


def test_conversations_are_fetched_from_the_named_configuration_and_splits(hub, fetch, tmp_path):
    files = add_chats(hub)
    splits = ("--split", "train=train_sft", "validation=test_sft")
    record = tmp_path / "fetched.json"
    done = fetch(*DATASET, "owner/chats", "--configuration", "sft", *splits, "--record", record, "--language", "nl")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert [(row["text"], row["split"]) for row in rows] == [
        ("Hoi", "train"), ("Hallo", "train"), ("Hoi", "validation"), ("Dag", "validation")
    ]  # fmt: skip
    found = json.loads(record.read_text())
    assert [name.rpartition("/")[2] for name in found["resolved"]] == ["train.jsonl", "test.jsonl"]
    assert found["reading"]["formats"] == {"sft/train.jsonl": "messages", "sft/test.jsonl": "messages"}
    assert found["reading"]["conversations"] == 2 and "sft/train.jsonl" in files
    assert not hub.asked("GET .*resolve.*other")


def add_chats(hub):
    """Add a dataset with two configurations, whose splits have names of their own, and return its files."""

    def chat(answer):
        turns = [{"role": "user", "content": "Hoi"}, {"role": "assistant", "content": answer}]
        return json.dumps({"messages": turns}).encode()

    card = """---
configs:
- config_name: sft
  data_files:
  - {split: train_sft, path: sft/train.jsonl}
  - {split: test_sft, path: sft/test.jsonl}
- config_name: other
  data_files: other/*.jsonl
---
"""
    files = {"sft/train.jsonl": chat("Hallo"), "sft/test.jsonl": chat("Dag"), "other/a.jsonl": b"{}"}
    hub.add("dataset", "owner/chats", {"README.md": card.encode()} | files)
    return files


def test_a_datasets_file_with_a_wrong_checksum_is_refused(hub, fetch, tmp_path):
    _, files = split_sample(tmp_path)
    hub.add("dataset", "owner/trees", files)
    name = "data/validation-00000-of-00001-abc.parquet"
    hub.trouble(f"GET .*/{name}", wrong=files[name][:-9] + b"not yours")
    assert f"{name} came with another checksum" in refusal(fetch(*DATASET, "owner/trees"), tmp_path)
