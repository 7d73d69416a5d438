"""Tests of publishing with the real Snakemake on a local hub: contents, cards, refusals, and secrecy of the token."""

import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hub import Hub
from hub_repos import card_header

from mothertongue.models import tokenizer_files
from mothertongue.prompts import templates

TOKEN, WRONG = "hf_RecognisableSecretOfTheTest", "hf_RecognisableButUnknown"
KINDS = ("dataset", "threads", "preferences", "adapter")
JSONS = [f"results/demo/pt/published/{kind}.json" for kind in KINDS]
REPOS = {
    "dataset": ("dataset", "me/trees_pt"),
    "threads": ("dataset", "me/trees_pt_threads"),
    "preferences": ("dataset", "me/trees_pt_preferences"),
    "adapter": ("model", "me/tiny-pt"),
}
# Python imports a module named sitecustomize at startup: each program records here whether it has the token.
WITNESS = """
import json, os, sys
from pathlib import Path
program = next((Path(word).stem for word in sys.orig_argv[1:] if Path(word).parent.name == "scripts"), None)
if program:
    seen = {"program": program, "token": "HF_TOKEN" in os.environ, "stdin": os.readlink("/proc/self/fd/0")}
    with open(os.environ["WITNESSED"], "a") as file:
        file.write(json.dumps(seen) + "\\n")
"""
NETWORK = {"fetch", "fetch_translation_model", "fetch_estimator", "fetch_chat_template", "fetch_base_model", "publish"}
DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[2], repo_type=sys.argv[1], revision=sys.argv[3], local_dir=sys.argv[4])
"""


@pytest.fixture(scope="module")
def hub():
    with Hub() as hub:
        hub.tokens[TOKEN] = "me"
        yield hub


@pytest.fixture(scope="module")
def outputs():
    """Return a list that collects the output of all runs."""
    return []


@pytest.fixture(scope="module")
def published(project, hub, tiny_base, outputs):
    """Return a project that was built from a dataset and a private base model of the hub, and published on it."""
    card = b"---\nlicense: llama2\nlanguage: [en]\ntags: [x]\n---\n"
    hub.add("dataset", "owner/trees", {"data/train.jsonl": (project.root / "messages.jsonl").read_bytes()})
    hub.add_folder("model", "me/tiny", tiny_base).put({"README.md": card})
    hub.repos["model", "me/tiny"].private = True
    project.configure(
        source={"dataset": "owner/trees", "revision": "main", "licence": "apache-2.0"},
        tuning={"base_model": "me/tiny"},
        publication={"namespace": "me"},
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hub.environment(project.root / "home", TOKEN).items():
            patch.setenv(name, value)
        (project.root / "witness").mkdir()
        (project.root / "witness/sitecustomize.py").write_text(WITNESS)
        patch.setenv("PYTHONPATH", str(project.root / "witness"))
        patch.setenv("WITNESSED", str(project.root / "witnessed.jsonl"))
        outputs.append(project.build("--verbose", "--printshellcmds", "--", *JSONS).output)
        yield project


def test_only_hub_steps_have_the_token_and_no_step_has_a_terminal(published):
    seen = [json.loads(line) for line in (published.root / "witnessed.jsonl").read_text().splitlines()]
    tokens = {row["program"]: row["token"] for row in seen}
    assert {"fetch", "fetch_base_model", "publish", "split", "translate", "tune", "evaluate"} <= set(tokens)
    assert {program for program, token in tokens.items() if token} == NETWORK & set(tokens)
    assert {row["stdin"] for row in seen} == {"/dev/null"}


def run(project, outputs, *arguments):
    run = project.run("--verbose", "--printshellcmds", *arguments)
    outputs.append(run.output)
    return run


def commits(hub):
    return {kind: len(hub.repos[key].commits) for kind, key in REPOS.items()}


def python(folder, code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_published_repositories_download_and_load_as_in_their_cards(published, hub, kind, tmp_path):
    record = json.loads((published.root / f"results/demo/pt/published/{kind}.json").read_text())
    key, folder = REPOS[kind], tmp_path / kind
    assert hub.repos[key].private and (record["type"], record["repo"]) == key
    done = python(published.root, DOWNLOAD, *key, record["commit"], folder)
    assert done.returncode == 0, done.stderr
    for name, checksum in record["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum
    assert not list(folder.rglob(".snakemake*"))

    text = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    rows = {
        "dataset": "assert len(dataset['train']) > 50 and len(dataset['validation']) > 0",
        "threads": "assert threads['train'][0]['messages'][1]['role'] == 'user'",
        "preferences": "assert preferences['train'][0]['chosen'][0]['role'] == 'assistant'",
        "adapter": "assert model.peft_config['default'].r == 4\nprint((prompt['input_ids'][0].tolist(), end))",
    }
    (tmp_path / "empty").mkdir()
    done = python(tmp_path / "empty", code + rows[kind])
    assert done.returncode == 0, code + done.stderr
    if kind == "adapter":
        # With the system prompt, the template and the end of a turn that the project uses.
        tokenizer, template = tokenizer_files.load_with_template(folder)
        asked = [
            {"role": "system", "content": json.loads((folder / "training.json").read_text())["system_prompt"]},
            {"role": "user", "content": "2 + 2 = ?"},
        ]
        ids = templates.encode_prompt(asked, template, tokenizer)
        assert done.stdout.splitlines()[-1] == repr((ids, templates.end_of_turn(template, tokenizer)))


def written(folder):
    """Return the names of the files that rules have written to a folder."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(".")}


def test_only_the_outputs_of_rules_are_published(published, hub):
    results = published.root / "results/demo/pt"
    expected = {kind: written(results / kind) | {"README.md", "mothertongue.json"} for kind in KINDS}
    expected["adapter"] |= {f"evaluation/{name}" for name in written(results / "evaluation")}
    for kind, key in REPOS.items():
        assert set(hub.repos[key].head.files) == expected[kind] | {".gitattributes"}


def test_published_files_contain_no_paths_of_this_machine(published, hub):
    places = [str(published.root), f"{Path.home()}/"]
    for key in REPOS.values():
        for name, file in hub.repos[key].head.files.items():
            text = file.content.decode(errors="replace")
            if name.endswith(".parquet"):
                table = pq.read_table(io.BytesIO(file.content))
                text = f"{table.to_pylist()} {table.schema.metadata}"
            assert not [place for place in places if place in text], name


def test_the_cards_name_sources_and_licences(published, hub):
    cards = {kind: hub.repos[key].head.files["README.md"].content.decode() for kind, key in REPOS.items()}
    headers = {kind: card_header(card) for kind, card in cards.items()}
    assert headers["dataset"]["license"] == headers["threads"]["license"] == "apache-2.0"
    assert headers["dataset"]["source_datasets"] == ["owner/trees"]
    assert headers["threads"]["source_datasets"] == ["me/trees_pt"]
    assert headers["adapter"]["base_model"] == "me/tiny" and headers["adapter"]["license"] == "llama2"
    assert headers["adapter"]["model-index"][0]["results"] and "| adapter + system prompt |" in cards["adapter"]
    assert headers["adapter"]["datasets"] == ["me/trees_pt", "owner/trees"]
    assert "enpt" in cards["dataset"] and ": not stated" in cards["dataset"]
    assert {"evaluation/metrics.json", "evaluation/samples.jsonl"} <= set(hub.repos[REPOS["adapter"]].head.files)
    assert hub.asked("GET .*me/tiny/resolve") and str(published.root) not in "".join(cards.values())


def test_only_changed_files_make_a_commit(published, hub, outputs):
    before = commits(hub)
    again = run(published, outputs, "--", *JSONS)
    assert again.jobs == {} and "Nothing to be done" in again.output
    forced = run(published, outputs, "--forcerun", "publish", "--", *JSONS)
    assert forced.code == 0 and forced.jobs == {"publish": 4} and commits(hub) == before, forced
    assert "me/tiny-pt: nothing has changed, no commit" in forced.output
    threads = published.root / "results/demo/pt/threads/train.jsonl"
    content = threads.read_text()
    threads.write_text(content + '{"thread_id": "own", "message_tree_id": "own", "messages": [], "text": ""}\n')
    changed = run(published, outputs, "--", JSONS[1])
    assert changed.jobs == {"publish": 1} and commits(hub) == before | {"threads": before["threads"] + 1}
    threads.write_text(content)


def test_harmful_publications_are_refused_with_a_remedy(published, hub, outputs):
    repo, target = hub.repos[REPOS["dataset"]], ("--forcerun", "publish", "--", JSONS[0])
    before = repo.head.sha
    repo.private = False
    public = run(published, outputs, *target)
    assert (
        public.code and "me/trees_pt is public, and publication.private is true: nothing is published" in public.output
    )
    repo.private = True
    repo.put({"mothertongue.json": b"{}"})
    strange = run(published, outputs, *target)
    assert strange.code and "me/trees_pt is there, and was not made by this workflow" in strange.output
    elsewhere = ("--config", "publication={namespace: me, name: mine}")
    assert run(published, outputs, *elsewhere, *target).code == 0
    assert hub.repos["dataset", "me/mine_pt"].private
    allowed = ("--config", "publication={namespace: me, existing: true}")
    assert run(published, outputs, *allowed, *target).code == 0
    assert repo.head.files == repo.at(before).files


def test_datasets_and_models_of_the_same_name_are_distinguished(published, outputs):
    for number in (1, 2):
        (published.root / f"trees{number}").mkdir()
        (published.root / f"trees{number}/my.jsonl").write_text((published.root / "messages.jsonl").read_text())
    for number in (1, 2):
        local = ("--config", f"source={{dataset: trees{number}/my.jsonl}}", "variants={b: {seed: 7}}")
        variant = "results/demo/pt/variants/b/published/adapter.json"
        shown = run(published, outputs, "-n", *local, "--", *JSONS, variant).output
        file = published.root / f"trees{number}/my.jsonl"
        for repository, parts in {
            "my_pt": [file], "my_pt_threads": [file], "tiny-pt": [file, "me/tiny", ""], "tiny-pt-b": [file, "me/tiny", "b"],
        }.items():  # fmt: skip
            made_from = shlex.quote("|".join(map(str, parts)))
            assert re.search(rf"--repo=me/{repository} .*?--made-from={re.escape(made_from)} ", shown, re.DOTALL)


def test_a_namespace_and_a_token_are_required_before_any_job_runs(published, outputs, monkeypatch):
    nowhere = run(published, outputs, "-n", "--config", "publication={namespace: null}", "--", JSONS[0])
    assert nowhere.code == 1 and "error: publication.namespace is null: set it to your name" in nowhere.output
    monkeypatch.setenv("HF_TOKEN", "")
    assert run(published, outputs, "-n", "--forcerun", "publish", "--", *JSONS).code == 0
    tokenless = run(published, outputs, "--forcerun", "publish", "--", JSONS[0])
    assert tokenless.code == 1 and "error: HF_TOKEN is not set" in tokenless.output and not tokenless.jobs


def test_the_token_is_never_written_or_printed_whatever_fails(published, hub, outputs, monkeypatch):
    target = ("--forcerun", "publish", "--", JSONS[-1])
    hub.trouble("GET /api/models/me/tiny-pt", status=500, headers={"Retry-After": "0"}, times=5)
    busy = run(published, outputs, *target)
    assert busy.code and "publish.py: error: cannot publish to me/tiny-pt on the hub: " in busy.output
    hub.trouble("GET /api/models/me/tiny-pt", wrong=b"{}")
    crashed = run(published, outputs, *target)
    assert crashed.code and "KeyError" in crashed.output
    monkeypatch.setenv("HF_DEBUG", "1")
    monkeypatch.setenv("HF_TOKEN", WRONG)
    refused = run(published, outputs, *target)
    assert refused.code and "the hub does not accept the token in HF_TOKEN" in refused.output
    fetched = run(published, outputs, "--forcerun", "fetch_base_model", "--", "results/demo/models/base/me--tiny")
    assert fetched.code and "the hub does not accept the token in HF_TOKEN" in fetched.output
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert run(published, outputs, *target).code == 0
    assert len(outputs) > 5 and hub.asked("POST .*commit")
    for secret in (TOKEN, WRONG):
        assert not [text for text in outputs if secret in text]
        found = [path for path in published.root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert not found
