"""Tests of runs in another folder than the workflow's: from anywhere, as a module of another workflow, deployed."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from running import Project, copy_project, sample

THREADS = "results/pt/threads/train.jsonl"
# Portuguese messages alone: no model translates them.
NATIVE = {
    "source": {"dataset": "messages.jsonl", "validation": 0.2, "languages": ["pt"], "shards": {"pt": 2}},
    "threads": {"prompt_format": "chatml"},
}
SNAKEDEPLOY = Path(sys.executable).with_name("snakedeploy")


@dataclass
class Elsewhere(Project):
    """A folder in which Snakemake runs a workflow that lies somewhere else."""

    options: tuple[str, ...] = ()
    more: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *self.options, "--cores=2", "--printshellcmds", *arguments]

    def environment(self) -> dict[str, str]:
        return super().environment() | self.more

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def configure_all(self, values: dict) -> None:
        self.write("config/config.yaml", yaml.safe_dump(values))


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return all files below a folder with their sizes and times, without those that Python keeps."""
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a copy of the workflow that nobody may write to; a test that runs as root finds what was written."""
    root = tmp_path_factory.mktemp("shared clone") / "mothertongue"
    root.mkdir()
    copy_project(root)
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield root
    for path in (path for path in [root, *root.rglob("*")] if path.is_dir()):
        path.chmod(0o755)


def write_portuguese(project: Project) -> None:
    rows = [row for row in sample() if row["lang"].startswith("pt")]
    project.write("messages.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, clone, tiny_base):
    """Return a folder with a configuration of its own, in which nothing is built; the workflow is the shared clone."""
    project = Elsewhere(tmp_path_factory.mktemp("my run"), ("--snakefile", str(clone / "Snakefile")))
    with (clone / "config/demo.yaml").open(encoding="utf-8") as file:
        demo = yaml.safe_load(file)
    project.configure_all(
        demo
        | {
            "results": "./res",
            "source": demo["source"] | {"dataset": "messages.jsonl", "validation": 0.3, "shards": {}},
            "tuning": demo["tuning"] | {"base_model": str(tiny_base), "max_steps": 3, "lora": {"rank": 4}},
            "evaluation": {"prompts": 2, "max_new_tokens": 8},
        }
    )
    rows = sample()
    trees = list(dict.fromkeys(row["message_tree_id"] for row in rows))
    wanted = set(trees[::6])
    project.write("messages.jsonl", "".join(json.dumps(row) + "\n" for row in rows if row["message_tree_id"] in wanted))
    project.write("config/glossary/pt.tsv", "term\ttranslation\nhouse\tcasa\n")
    return project


def test_a_run_in_an_empty_folder_leaves_the_shared_clone_as_it_is(elsewhere, clone):
    before = files_of(clone)
    run = elsewhere.build("res/pt/report.html", "res/pt/threads/train.jsonl")
    assert run.jobs["report"] == run.jobs["evaluate"] == run.jobs["tune"] == 1
    assert files_of(clone) == before
    assert {path.name for path in elsewhere.root.iterdir()} == {".snakemake", "config", "messages.jsonl", "res"}
    assert elsewhere.build("res/pt/report.html").jobs == {}


def test_the_users_files_come_before_the_workflows(elsewhere, clone):
    run = elsewhere.build("--forcerun=translate", "--dry-run", "--", "res/pt/threads/train.jsonl")
    assert "--glossary=config/glossary/pt.tsv" in run.output
    assert f"--prompts={clone}/config/prompts/pt.txt" in run.output
    elsewhere.write("config/prompts/pt.txt", "Onde fica a tua casa?\n")
    run = elsewhere.build("--dry-run", "--", "res/pt/evaluation/metrics.json")
    assert "--prompts=config/prompts/pt.txt" in run.output, "an edited prompt is asked"


@pytest.mark.parametrize("target", ["results/pt/adapter", "res/demo/pt/adapter", "pt/report.html", "/x/res/pt/adapter"])
def test_a_target_outside_the_results_folder_is_named(elsewhere, target):
    run = elsewhere.run("--dry-run", target)
    assert run.code != 0
    assert f"error: target {target}: everything is built in the configuration's `results`, which is res;" in run.output
    assert "Exception" not in run.output


@pytest.fixture(scope="module")
def using(tmp_path_factory, clone):
    """Return a folder with another workflow, which uses this one as a module with a prefix."""
    project = Elsewhere(tmp_path_factory.mktemp("using"), more={"HF_TOKEN": "hf_mine", "HF_HUB_OFFLINE": "no"})
    write_portuguese(project)
    project.configure_all({"samples": 3, "chat": NATIVE})
    project.write(
        "Snakefile",
        f"""
configfile: "config/config.yaml"


shell.prefix("said={{{{mine}}}}; ")


module mothertongue:
    snakefile: "{clone}/Snakefile"
    config: config["chat"]
    prefix: "chat"


use rule * from mothertongue as chat_*


# Snakemake defines the rules of the module again for this, without those that are not named.
use rule threads from mothertongue as chat_threads with:
    threads: 1


rule all:
    default_target: True
    input:
        "chat/{THREADS}",
        "results/nl/report.html",


rule page:
    output:
        "results/nl/report.html",
    shell:
        "echo $said ${{{{HF_TOKEN-}}}} ${{{{HF_HUB_OFFLINE-}}}} {{config[samples]}} {{config[chat][source]}} > {{output}}"
""",
    )
    return project


def test_a_module_builds_below_its_prefix_and_leaves_the_other_rules_alone(using, clone):
    before = files_of(clone)
    run = using.build("all")
    assert run.jobs == {
        "chat_fetch": 1, "chat_split": 1, "chat_translate": 2, "chat_combine": 1, "chat_threads": 1, "page": 1, "all": 1
    }  # fmt: skip
    assert (using.root / "chat" / THREADS).stat().st_size > 0
    assert not {path.name for path in (using.root / "results").iterdir()} - {"nl"}, "something was written past it"
    assert files_of(clone) == before
    assert (using.root / "chat/results/.runs.lock").is_file(), "runs of other folders would not find this one"
    said = (using.root / "results/nl/report.html").read_text()
    assert said.startswith("{mine} hf_mine no 3 {dataset: messages.jsonl"), "its prefix, token and configuration stay"
    assert using.build("all").jobs == {}
    rows = using.read_messages()
    rows[-1]["text"] = "Isto foi mudado."
    using.write_messages(rows)
    again = using.build("all").jobs
    assert again["chat_translate"] == 1 and "page" not in again
    using.build("--report", "workflow.html", "--", f"chat/{THREADS}")


def test_a_module_plans_the_whole_chain(using):
    targets = (f"chat/results/nl/{name}" for name in ("report.html", "export/README.md"))
    run = using.build("--dry-run", *targets, "chat/results/summary.html", "chat/results/nl/preferences/train.jsonl")
    assert "chat_tune" in run.output and "chat/chat" not in run.output


def test_a_prefix_before_absolute_results_is_refused(using, tmp_path):
    run = using.run("--dry-run", "--config", f"chat={{results: {tmp_path}}}", "--", "all")
    assert run.code != 0 and f"error: results: {tmp_path} cannot stand below the module's prefix chat/" in run.output


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """Return a folder that snakedeploy made from a local bare repository, and a clone of that to commit to."""
    if not SNAKEDEPLOY.exists():
        pytest.skip("snakedeploy is not for this Python")
    place = tmp_path_factory.mktemp("deployed")
    work, bare = place / "work", place / "github.com/lab/mothertongue"
    work.mkdir()
    copy_project(work)
    git(work, "init", "--quiet")
    commit(work, "v1")
    subprocess.run(["git", "clone", "--quiet", "--bare", work, bare], check=True)
    # Snakemake reads a repository of GitHub from its clone in this cache, and asks the network for unknown tags alone.
    cache = place / "cache/snakemake/snakemake/source-cache/snakemake-git-cache/github.com/lab"
    cache.mkdir(parents=True)
    (cache / "mothertongue").symlink_to(bare)
    project = Elsewhere(place / "run", more={"XDG_CACHE_HOME": str(place / "cache")})
    subprocess.run(
        [
            Path(sys.executable).with_name("snakedeploy"),
            "deploy-workflow",
            f"file://{bare}",
            project.root,
            "--tag",
            "v1",
        ],
        check=True,
        capture_output=True,
    )
    return project, work, bare


def git(folder: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "mail@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", "-C", folder, *arguments], check=True, env=os.environ | names)


def commit(work: Path, tag: str) -> None:
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", tag)
    git(work, "tag", tag)


def test_a_deployed_workflow_runs_and_follows_its_tag(deployed):
    project, work, bare = deployed
    assert "Name what to build" in project.run().output
    write_portuguese(project)
    config = yaml.safe_load((project.root / "config/config.yaml").read_text())
    project.configure_all(config | {key: config[key] | values for key, values in NATIVE.items()})
    assert project.build(THREADS).jobs == {"fetch": 1, "split": 1, "translate": 2, "combine": 1, "threads": 1}
    script = work / "scripts/threads.py"
    script.write_text(script.read_text(encoding="utf-8") + "# Another version.\n", encoding="utf-8")
    commit(work, "v2")
    git(work, "push", "--quiet", str(bare), "v2")
    snakefile = project.root / "workflow/Snakefile"
    snakefile.write_text(snakefile.read_text().replace('"v1"', '"v2"'))
    assert project.build(THREADS).jobs == {"threads": 1}
    # Nothing swaps the code of a run that works here, and no Snakefile uses two versions.
    v2 = snakefile.read_text()
    snakefile.write_text(v2.replace('"v2"', '"v1"'))
    (project.root / ".snakemake/locks").mkdir(exist_ok=True)
    (project.root / ".snakemake/locks/0.output.lock").touch()
    assert "error: another run in this folder uses another version" in project.run("--dry-run", THREADS).output
    (project.root / ".snakemake/locks/0.output.lock").unlink()
    snakefile.write_text(v2 + v2.partition("use rule")[0].replace("module mothertongue", "module other").replace("v2", "v1")
        + "use rule * from other as other_*\n")  # fmt: skip
    assert "error: two modules are of different versions" in project.run("--dry-run", THREADS).output


@pytest.mark.skipif(not shutil.which("rsync"), reason="the storage plugin copies with rsync")
def test_results_can_be_kept_in_a_storage(tmp_path, clone):
    storage = ("--default-storage-provider=fs", f"--default-storage-prefix={tmp_path}/bucket")
    project = Elsewhere(tmp_path / "run", ("--snakefile", str(clone / "Snakefile"), *storage))
    write_portuguese(project)
    project.configure_all(NATIVE)
    assert project.build(THREADS).jobs["threads"] == 1
    assert (tmp_path / "bucket" / THREADS).stat().st_size > 0 and not (project.root / THREADS).exists()
    assert project.build(THREADS).jobs == {}
    summary = project.run("--dry-run", "results/summary.html")
    assert summary.code != 0 and "error: summary.html lists the evaluations on this machine" in summary.output


APPTAINER = """#!/bin/bash
# Runs the command of `apptainer exec OPTIONS IMAGE sh -c COMMAND` without a container, and notes it.
[[ $1 == --version ]] && { echo apptainer version 1.3.4; exit; }
while [[ $1 != *.sif ]]; do shift; done
echo "$1" >> "$APPTAINER_CALLS"
exec "${@:2}"
"""


def test_rules_run_in_the_configured_image(tmp_path, clone):
    calls = tmp_path / "calls"
    apptainer = tmp_path / "bin/apptainer"
    apptainer.parent.mkdir()
    apptainer.write_text(APPTAINER)
    apptainer.chmod(0o755)
    project = Elsewhere(
        tmp_path / "run", ("--snakefile", str(clone / "Snakefile"), "--sdm=apptainer"),
        {"PATH": f"{apptainer.parent}:{os.environ['PATH']}", "APPTAINER_CALLS": str(calls), "HF_TOKEN": "hf_secret"},
    )  # fmt: skip
    write_portuguese(project)
    (tmp_path / "image.sif").touch()
    project.configure_all(NATIVE | {"container": f"{tmp_path}/image.sif"})
    jobs = project.build(THREADS).jobs
    assert jobs["threads"] == 1 and calls.read_text().split() == [f"{tmp_path}/image.sif"] * sum(jobs.values())
