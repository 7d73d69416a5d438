"""Tests of scripts/publish.py with a local hub and the hub's real client."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hub import Hub
from hypothesis import given
from hypothesis import strategies as st
from published import write_adapter

from mothertongue.common.errors import UserError
from mothertongue.models import fetching, references
from mothertongue.models import hub as client
from mothertongue.models.record import identity
from mothertongue.publication.contents import ADAPTER, DATASET, Publishable, adapter_files
from mothertongue.publication.upload import adapter_names, files_of, made_from, model_name, repository_name, short_name

TOKEN = "hf_RecognisableSecretOfTheTest"
PUBLISHED = {
    "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.model",
    "training.json", "evaluation/metrics.json", "evaluation/samples.jsonl", "evaluation/language.svg",
    "mothertongue.json",
}  # fmt: skip


@pytest.fixture
def hub():
    with Hub() as hub:
        hub.tokens[TOKEN] = "me"
        yield hub


class Publisher:
    """The folder of an adapter, and the program that publishes it."""

    def __init__(self, hub, folder):
        self.hub, self.folder = hub, write_adapter(folder)

    def command(self, *options):
        return [
            sys.executable, "scripts/publish.py", "adapter", "--folder", self.folder / "adapter", "--evaluation",
            self.folder / "evaluation", "--dataset-card", self.folder / "dataset/README.md", "--dataset-repo",
            "me/oasst1_nl", "--repo", "me/tiny-nl", "--target", "nl", "--name", "Dutch",
            "--output", self.folder / "adapter.json", *options,
        ]  # fmt: skip

    def environment(self, token=TOKEN):
        return os.environ | self.hub.environment(self.folder / "home", token)

    def run(self, *options, token=TOKEN):
        done = subprocess.run(
            self.command(*options), env=self.environment(token), capture_output=True, text=True, timeout=120
        )
        assert TOKEN not in done.stdout + done.stderr
        return done

    def succeed(self, *options):
        done = self.run(*options)
        assert done.returncode == 0, done.stderr
        return json.loads((self.folder / "adapter.json").read_text())

    def fail(self, *options, token=TOKEN):
        done = self.run(*options, token=token)
        lines = [line for line in done.stderr.splitlines() if "error:" in line]
        assert done.returncode == 1 and len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
        assert not (self.folder / "adapter.json").exists()
        return lines[0]

    @property
    def repo(self):
        return self.hub.repos["model", "me/tiny-nl"]


@pytest.fixture
def publisher(hub, tmp_path):
    return Publisher(hub, tmp_path)


def test_only_changed_files_are_committed_and_removed_files_are_deleted(hub, publisher):
    first = publisher.succeed()
    repo, commits = publisher.repo, len(publisher.repo.commits)
    assert set(repo.head.files) - {".gitattributes"} == PUBLISHED == set(first["files"])
    assert repo.private and first["private"] and first["commit"] == repo.head.sha
    assert first["url"] == f"{hub.url}/me/tiny-nl" and first["type"] == "model"
    assert "folder" not in json.loads(repo.head.files["training.json"].content)["base_model"]
    for name, checksum in first["files"].items():
        assert repo.head.files[name].sha256 == checksum

    assert publisher.succeed() == first and len(repo.commits) == commits
    (publisher.folder / "adapter/adapter_model.safetensors").write_text("new weights")
    (publisher.folder / "evaluation/language.svg").unlink()
    uploads = len(hub.asked("PUT"))
    second = publisher.succeed()
    assert len(repo.commits) == commits + 1 and second["commit"] == repo.head.sha != first["commit"]
    assert repo.head.files["adapter_model.safetensors"].content == b"new weights"
    assert "evaluation/language.svg" not in repo.head.files and len(hub.asked("PUT")) == uploads + 1
    assert repo.head.summary == "2 files of 9 from Mothertongue"


def test_an_interrupted_upload_is_resumed(hub, publisher):
    hub.trouble("PUT /lfs", after=1, wait=True)
    process = subprocess.Popen(publisher.command(), env=publisher.environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while (len(hub.asked("PUT")) < 2 or not hub.stored) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(hub.stored) == 1 and len(publisher.repo.commits) == 1
    publisher.succeed()
    assert len(hub.asked("PUT")) == 3 and len(hub.stored) == 2
    assert set(publisher.repo.head.files) - {".gitattributes"} == PUBLISHED


def test_requests_to_a_busy_hub_are_retried(hub, publisher):
    for request in ("GET /api/models", "POST .*create", "POST .*preupload", "POST .*batch", "PUT", "POST .*commit"):
        hub.trouble(request, status=503, headers={"Retry-After": "0"})
    publisher.succeed()
    # The response to a commit is lost: the commit exists and is not made again.
    (publisher.folder / "evaluation/language.svg").write_text("<svg></svg>")
    hub.trouble("POST .*/commit/", cut=True)
    publisher.succeed()
    assert [commit.summary for commit in publisher.repo.commits][1:] == [
        "10 files of 10 from Mothertongue", "1 files of 10 from Mothertongue",
    ]  # fmt: skip


def test_a_refused_upload_is_reported_in_one_line(hub, publisher):
    hub.trouble("PUT /lfs", status=400, times=9)
    line = publisher.fail()
    assert "Error while uploading" in line and "400" in line and "publish again later" in line


def test_the_signature_of_an_upload_is_not_shown():
    address = "https://store.example/path/file"
    with pytest.raises(UserError) as found, client.errors("publish", "model"):
        raise OSError(f"Server error '503' for url '{address}?X-Amz-Signature=abc&x=y'\nsecond")
    assert str(found.value) == f"cannot publish: Server error '503' for url '{address}'"


def test_no_file_is_sent_to_a_public_repository_that_should_be_private(hub, publisher):
    repo = hub.add("model", "me/tiny-nl", {"old.txt": b"?"})
    for options in ((), ("--existing",)):
        line = publisher.fail(*options)
        assert "me/tiny-nl is public, and publication.private is true: nothing is published; make it private" in line
    assert not hub.asked("POST|PUT") and set(repo.head.files) == {".gitattributes", "old.txt"}
    assert publisher.succeed("--public", "--existing")["private"] is False
    repo.private = True
    done = publisher.run("--public")
    assert done.returncode == 0, done.stderr
    assert "me/tiny-nl is private and stays so: publication.private (public) counts where" in done.stdout + done.stderr


def test_a_repository_that_becomes_public_during_the_upload_gets_no_commit(hub, publisher):
    repo = hub.add("model", "me/tiny-nl", {}, private=True)
    hub.trouble("PUT /lfs", act=lambda: setattr(repo, "private", False))
    assert "me/tiny-nl is public, and publication.private is true" in publisher.fail()
    assert hub.stored and not hub.asked("POST .*/commit/") and set(repo.head.files) == {".gitattributes"}


def test_files_that_the_workflow_has_not_published_are_never_deleted(hub, publisher):
    repo = hub.add("model", "me/tiny-nl", {"own.txt": b"?", "README.md": b"by hand"}, private=True)
    line = publisher.fail()
    assert "me/tiny-nl is there, and was not made by this workflow: nothing is published; set publication.name" in line
    assert not hub.asked("POST|PUT") and repo.head.files["README.md"].content == b"by hand"
    publisher.succeed("--existing")
    assert set(repo.head.files) == PUBLISHED | {".gitattributes", "own.txt"}

    # From now on the repository belongs to the workflow, and others may add files to it.
    repo.put({"later/notes.md": b"!", "evaluation/own.svg": b"<svg/>"})
    (publisher.folder / "evaluation/language.svg").unlink()
    done = publisher.run()
    assert "not in what is published, and deleted there: evaluation/language.svg\n" in done.stdout + done.stderr
    left = PUBLISHED - {"evaluation/language.svg"}
    assert set(repo.head.files) == left | {".gitattributes", "own.txt", "later/notes.md", "evaluation/own.svg"}


def test_a_repository_of_another_source_with_the_same_name_is_not_replaced(hub, publisher):
    first = publisher.succeed("--made-from", "/one/trees.jsonl")
    (publisher.folder / "adapter.json").unlink()
    (publisher.folder / "adapter/tokenizer.model").write_text("of other trees")
    line = publisher.fail("--made-from", "/two/trees.jsonl")
    assert "me/tiny-nl is there, and was made from other data, or another model: nothing is published" in line
    assert publisher.repo.head.sha == first["commit"]
    assert publisher.succeed("--made-from", "/two/trees.jsonl", "--existing")["commit"] != first["commit"]
    publisher.succeed("--made-from", "/two/trees.jsonl")
    # The published record does not contain the source's path.
    assert b"trees" not in publisher.repo.head.files["mothertongue.json"].content


@pytest.mark.parametrize(
    "content",
    [b"[", b"[]", b"[" * 100_000, b" " * 2**21, b'{"made_by": "Mothertongue", "files": ["own.txt"]}',
     b'{"made_by": "Mothertongue", "made_from": "x", "files": "own.txt"}'],
)  # fmt: skip
def test_an_invalid_record_does_not_make_a_repository_the_workflows_own(hub, publisher, content):
    hub.add("model", "me/tiny-nl", {"own.txt": b"?", "mothertongue.json": content}, private=True)
    assert "was not made by this workflow" in publisher.fail()
    publisher.succeed("--existing")
    assert "own.txt" in publisher.repo.head.files


def test_only_files_of_rules_are_published_and_links_are_refused(publisher, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for name in (".env", "notes.txt", "tokenizer.json.orig", "adapter/.env", "merges", "ref/merges.txt"):
        (publisher.folder / "adapter" / name).parent.mkdir(exist_ok=True)
        (publisher.folder / "adapter" / name).write_text("secret")
    (publisher.folder / "adapter/link.json").symlink_to(secret)
    (publisher.folder / "evaluation/link.svg").symlink_to("/proc/self/environ")
    assert set(publisher.succeed()["files"]) == PUBLISHED
    (publisher.folder / "adapter.json").unlink()
    (publisher.folder / "adapter/merges.txt").symlink_to("/proc/self/environ")
    assert "merges.txt: a link, or no plain file, which is not published" in publisher.fail()

    (publisher.folder / "adapter/merges.txt").unlink()
    (tmp_path / "scratch").mkdir()
    card, evaluation = publisher.folder / "dataset/README.md", publisher.folder / "evaluation"
    material = Publishable(publisher.folder / "adapter", "me/tiny-nl", "nl", "Dutch", "me/x_nl", card, evaluation)
    inside = publisher.folder / "adapter/.env"
    for name in ("adapter/merges.txt", "adapter/adapter_config.json", "evaluation/harness.json"):
        path = publisher.folder / name
        kept = path.read_bytes() if path.exists() else None
        for target in (secret, inside, "/proc/self/environ", tmp_path / "none", path, None):
            path.unlink(missing_ok=True)
            path.symlink_to(target) if target else os.mkfifo(path)
            with pytest.raises(UserError, match=f"{path}: a link, or no plain file"):
                adapter_files(material, tmp_path / "scratch")
        path.unlink()
        if kept:
            path.write_bytes(kept)


def test_a_linked_subfolder_is_refused_but_linked_results_are_accepted(tmp_path):
    (tmp_path / "disk/dataset").mkdir(parents=True)
    (tmp_path / "disk/dataset/quality.json").write_text("{}")
    (tmp_path / "results").symlink_to("disk")
    assert list(files_of(tmp_path / "results/dataset", DATASET)) == ["quality.json"]
    (tmp_path / "others").mkdir()
    (tmp_path / "others/scores.svg").write_text("<svg/>")
    (tmp_path / "disk/dataset/quality").symlink_to(tmp_path / "others")
    with pytest.raises(UserError, match=r"results/dataset/quality/scores\.svg: a link"):
        files_of(tmp_path / "results/dataset", DATASET)
    with pytest.raises(UserError, match=r"adapter_config\.json: no such file"):
        files_of(tmp_path / "others", ADAPTER)


def test_a_dry_run_sends_no_request(hub, publisher):
    done = publisher.run("--dry-run", token="")
    assert done.returncode == 0, done.stderr
    assert "model me/tiny-nl (private where it is new): 10 files, " in done.stdout
    assert "7,000  adapter_model.safetensors" in done.stdout
    assert "checkpoint" not in done.stdout and ".log" not in done.stdout
    assert not hub.log and not (publisher.folder / "adapter.json").exists()
    assert "\n## Training\n" in done.stdout and "\n## Licences\n" in done.stdout


def test_the_dataset_that_an_adapter_was_made_from_is_asked_for(publisher):
    """Its licence is the adapter's too: without its card a licence that forbids commercial use would be lost."""
    whole = publisher.command("--dry-run")
    for option in ("--dataset-card", "--dataset-repo"):
        at = whole.index(option)
        done = subprocess.run(whole[:at] + whole[at + 2 :], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "adapter: give --dataset-repo and --dataset-card" in done.stderr


@pytest.mark.parametrize(
    ("options", "token", "expected"),
    [
        ((), "", "HF_TOKEN is not set"),
        ((), "hf_one\nhf_two", "HF_TOKEN is not a token"),
        ((), "hf_clé", "HF_TOKEN is not a token"),
        ((), "hf_unknown", "the hub does not accept the token in HF_TOKEN"),
        (("--repo", "others/tiny-nl"), TOKEN, "the token in HF_TOKEN does not allow it"),
        (("--folder", "results"), TOKEN, "no such file"),
    ],
)
def test_a_failed_publication_is_reported_in_one_line(publisher, options, token, expected):
    line = publisher.fail(*options, token=token)
    assert expected in line and not (token and token[-6:] in line)


def test_a_card_or_name_that_the_hub_rejects_is_reported_in_one_line(publisher):
    assert '"language" is not a code: dutch' in publisher.fail("--target", "dutch")
    assert "cannot publish to me/a b on the hub: " in publisher.fail("--repo", "me/a b")


def test_a_base_model_without_a_known_licence_can_be_published(publisher):
    record = publisher.folder / "adapter/training.json"
    record.write_text(record.read_text().replace('"llama2"', "null"))
    publisher.succeed()
    assert b"license: unknown" in publisher.repo.head.files["README.md"].content


def test_repository_names_are_valid_and_unique():
    assert short_name("OpenAssistant/oasst1") == "oasst1" and short_name("/data/my trees.jsonl.gz") == "my trees"
    assert model_name("owner/Base-7B@abc") == "Base-7B" and model_name("package:a/B.Q4_1.gguf") == "B.Q4_1"
    assert repository_name("my trees--x", "nl") == "my-trees-x-nl"
    bases = {"": "a/Base", "qwen": "b/Qwen@1", "dpo": "a/Base", "one": "c/Same", "two": "d/Same"}
    assert adapter_names(bases, "nl") == {
        "": "Base-nl", "qwen": "Qwen-nl", "dpo": "Base-nl-dpo", "one": "Same-nl-one", "two": "Same-nl-two",
    }  # fmt: skip
    assert adapter_names({"": "a/base", "x": "b/Base"}, "nl") == {"": "base-nl", "x": "Base-nl-x"}
    assert adapter_names({"": "a/base", "x": "b/Base"}, "nl", "mine") == {"": "base-mine-nl", "x": "Base-mine-nl-x"}
    with pytest.raises(UserError, match="a--b and a-b would share Base-nl-a-b; rename a-b"):
        adapter_names({"": "a/Base", "a--b": "a/Base", "a-b": "a/Base"}, "nl")


def test_a_local_model_or_dataset_keeps_its_whole_name(tmp_path, monkeypatch):
    (tmp_path / "me@home/Base@4").mkdir(parents=True)
    (tmp_path / "me@home/B@8.gguf").touch()
    assert short_name("/data/me@home/trees@2.jsonl") == "trees@2"
    assert model_name(str(tmp_path / "me@home/Base@4")) == model_name(str(tmp_path / "me@home/Base@4/")) == "Base@4"
    assert model_name(str(tmp_path / "me@home/B@8.gguf")) == "B@8"
    monkeypatch.chdir(tmp_path / "me@home/Base@4")
    assert model_name(".") == "Base@4"
    assert made_from("adapter", "nl", "/one") != made_from("adapter", "nl", "/two")
    # The model column and the cards also contain only its name.
    fetching.write_record(tmp_path, references.parse(str(tmp_path / "me@home/Base@4")), fetching.Resolved(None, "mit"))
    assert identity(tmp_path).startswith("Base@4@sha256:")


@given(
    st.dictionaries(
        st.sampled_from(["", "a", "b", "a-b", "a--b", "A"]), st.sampled_from(["o/B", "p/b", "q/b-nl", "x" * 96])
    )
)
def test_adapters_have_separate_repositories_or_are_refused(bases):
    try:
        names = adapter_names(bases, "nl")
    except UserError:
        return
    assert len({name.lower() for name in names.values()}) == len(bases)
    assert all(len(name) <= 96 for name in names.values())
