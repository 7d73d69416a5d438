"""Tests of scripts/mothertongue/workflow/snakemake_internals.py with the installed version of Snakemake.

A test that fails after an update of Snakemake names the function of that module to adapt.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest

from mothertongue.workflow import dry_run, snakemake_internals

MOVED = f"Snakemake {metadata.version('snakemake')} has moved what snakemake_internals"
SNAKEFILE = """
import json, sys
from pathlib import Path

sys.path.append({scripts!r})
from mothertongue.workflow import snakemake_internals


def note(when, **facts):
    with open("notes.jsonl", "a") as notes:
        print(json.dumps(dict(when=when, **facts)), file=notes)


note("parse", kind=snakemake_internals.default_resource(workflow, "gpu_model"))


def once_split(wildcards):
    snakemake_internals.await_checkpoint(checkpoints.split)
    return []


def states():
    return dict(
        submits=snakemake_internals.submits_jobs(workflow),
        main=snakemake_internals.is_main_process(workflow),
        runs=snakemake_internals.runs_jobs(workflow),
        locked=snakemake_internals.is_locked(Path()),
        grouped=snakemake_internals.is_grouped(workflow, "use"),
    )


def asked(wildcards):
    note("graph", **states())
    return []


rule all:
    input:
        "used/a.txt",
        "used/b.txt",


checkpoint split:
    input:
        "source.txt",
    output:
        "parts/a.txt",
        "parts/b.txt",
    shell:
        "head -1 {{input}} > parts/a.txt; tail -1 {{input}} > parts/b.txt"


rule use:
    input:
        asked,
        after=once_split,
        part="parts/{{part}}.txt",
    output:
        "used/{{part}}.txt",
    threads: 3
    resources:
        runtime=7,
        gpu=1,
        disk_mb=5,
    params:
        word=config.get("word", "first"),
    shell:
        "cp {{input.part}} {{output}}"


onstart:
    note("start", **states())
    snakemake_internals.pass_checksum_limit(workflow)


if config.get("record"):
    snakemake_internals.record_in_jobs()
"""


class Tiny:
    """A workflow with a checkpoint and a rule, in its own folder."""

    def __init__(self, root):
        self.root = root
        (root / "Snakefile").write_text(SNAKEFILE.format(scripts=str(Path("scripts").resolve())))
        (root / "source.txt").write_text("one\ntwo\n")

    def run(self, *arguments, code=0, path=""):
        """Run Snakemake, keep its output, and return the workflow's notes by event."""
        (self.root / "notes.jsonl").write_text("")
        # As a profile does; Snakemake does not pass it to the jobs of a cluster.
        limit = [] if "--mode=remote" in arguments else ["--max-checksum-file-size=1GB"]
        command = [sys.executable, "-m", "snakemake", "--cores=4", *limit, *arguments]
        path = f"{path}:" if path else ""
        environment = os.environ | {"PATH": f"{path}{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        self.output, self.errors = done.stdout, done.stderr
        notes = [json.loads(line) for line in (self.root / "notes.jsonl").read_text().splitlines()]
        return {note.pop("when"): note for note in notes}

    @property
    def jobs(self):
        return dict(Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", self.output + self.errors)))


@pytest.fixture
def tiny(tmp_path):
    return Tiny(tmp_path)


def test_the_mode_of_a_run_is_recognised(tiny):
    on_this_machine = {"submits": False, "main": True, "runs": True, "locked": True, "grouped": False}
    assert tiny.run("all")["start"] == on_this_machine, f"{MOVED}.submits_jobs and its neighbours read"
    assert tiny.jobs == {"split": 1, "use": 2, "all": 1}
    assert not snakemake_internals.is_locked(tiny.root), f"{MOVED}.is_locked looks at"
    listed = tiny.run("-n", "--forceall", "--groups", "use=together")
    assert listed["graph"]["runs"] is False, f"{MOVED}.runs_jobs reads"
    assert listed["graph"]["grouped"] is True, f"{MOVED}.is_grouped reads"
    assert listed["parse"]["kind"] == "", f"{MOVED}.default_resource reads"
    kind = tiny.run("-n", "--default-resources", "gpu_model=a100", "mem_mb=100")["parse"]["kind"]
    assert kind == "a100", f"{MOVED}.default_resource reads"
    one_job = tiny.run("--mode=remote", "--force", "--allowed-rules", "use", "--", "used/a.txt")
    assert one_job["graph"]["main"] is False, f"{MOVED}.is_main_process reads"


def test_only_outputs_changed_by_a_checkpoint_make_jobs_run_again(tiny):
    tiny.run("all")
    (tiny.root / "source.txt").write_text("one\nthree\n")
    tiny.run("-n")
    waiting = [job.inputs for job in dry_run.parse_jobs(tiny.output) if job.rule == "use"]
    assert all(snakemake_internals.UNDECIDED in inputs for inputs in waiting), f"{MOVED}.UNDECIDED says"
    tiny.run("all")
    assert tiny.jobs == {"split": 1, "use": 1, "all": 1}, f"{MOVED}.await_checkpoint asks"


def test_a_job_records_its_outputs_without_the_snakemake_that_submitted_it(tiny):
    tiny.run("all")
    job, first = ("--mode=remote", "--force", "--allowed-rules", "use", "--"), ("--", "used/a.txt")
    changed = ("-n", "--config", "word=second", *first)
    tiny.run("--cleanup-metadata", "used/a.txt")
    for record, said in (("", "Nothing to be done"), ("1", "Params have changed")):
        tiny.run("--config", f"record={record}", *job, "used/a.txt")
        tiny.run(*changed)
        assert said in tiny.output + tiny.errors, f"{MOVED}.record_in_jobs changes"
        tiny.run("-n", *first)
        assert "Nothing to be done" in tiny.output + tiny.errors, f"{MOVED}.record_in_jobs writes"


def test_a_job_that_outlives_its_snakemake_records_checksums_of_large_inputs(tiny):
    (tiny.root / "source.txt").write_text(f"{'one' * 700_000}\ntwo\n")
    (tiny.root / "outlive.sh").write_text('bash "$1"; kill -9 $PPID\n')
    cluster = ("--executor=cluster-generic", "--cluster-generic-submit-cmd=exec bash outlive.sh", "--jobs=1")
    tiny.run("parts/a.txt", *cluster, "--config", "record=1", code=-9)
    tiny.run("--unlock", "parts/a.txt")
    later = time.time() + 5
    os.utime(tiny.root / "source.txt", (later, later))
    tiny.run("-n", "parts/a.txt")
    assert "Nothing to be done" in tiny.output + tiny.errors, f"{MOVED}.record_in_jobs writes"


def test_the_output_of_a_dry_run_is_parsed(tiny):
    tiny.run("-n")
    jobs = {job.outputs: job for job in dry_run.parse_jobs(tiny.output)}
    assert len(jobs) == 4, f"{MOVED} knows of printed jobs"
    split, use = jobs["parts/a.txt", "parts/b.txt"], jobs[("used/a.txt",)]
    read = (use.rule, use.outputs, use.wildcards, use.threads, use.gpus, use.minutes, use.disk_mb)
    assert read == ("use", ("used/a.txt",), {"part": "a"}, 3, 1, 7, 5), f"{MOVED} knows of printed jobs"
    assert (split.rule, split.inputs) == ("split", ("source.txt",))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--configfile=empty.yaml"], "Config file must be given as JSON or YAML with keys at top level."),
        (["--configfile=list.yaml"], "Config file must be given as JSON or YAML with keys at top level."),
        (["--configfile=nowhere.yaml"], "No such file or directory: 'nowhere.yaml'"),
        (["--", "no/such/target"], "No rule to produce no/such/target"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--snakefile=broken.smk"], "name 'nothing' is not defined"),
    ],
)
def test_the_reason_of_a_failure_is_parsed(tiny, arguments, reason):
    """With a profile in use, Snakemake first prints a line about it on stderr."""
    (tiny.root / "mine").mkdir()
    (tiny.root / "mine/config.v9+.yaml").write_text("keep-going: true\n")
    (tiny.root / "empty.yaml").write_text("# nothing\n")
    (tiny.root / "list.yaml").write_text("- a\n")
    (tiny.root / "broken.smk").write_text("print(nothing)\n")
    code = 2 if "--no-such-option" in arguments else 1
    tiny.run("-n", "--profile=mine", *arguments, code=code)
    said = dry_run.complaint(tiny.output, tiny.errors)
    assert reason in said and "Using profile" not in said, f"{MOVED}.error_lines reads"


def test_the_slurm_plugin_submits_jobs_with_the_expected_comment_and_folder(tiny, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    # This sbatch refuses every job and records its arguments.
    (programs / "sbatch").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/asked\nexit 1\n')
    for name in ("squeue", "sinfo", "scontrol", "scancel", "sacctmgr"):
        (programs / name).write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    cluster = [
        "--executor=slurm",
        "--jobs=1",
        "--slurm-status-command=squeue",
        "--slurm-init-seconds-before-status-checks=1",
        "--default-resources",
        "slurm_account=''",
    ]
    notes = tiny.run("parts/a.txt", *cluster, "slurm_partition=''", code=1, path=str(programs))
    assert (notes["start"]["submits"], notes["start"]["main"]) == (True, True), f"{MOVED}.submits_jobs reads"
    asked = (tmp_path / "asked").read_text().splitlines()
    comment = asked[asked.index("--comment") + 1]
    assert re.match(snakemake_internals.JOB_COMMENTS, comment), f"{MOVED}.JOB_COMMENTS says: {comment}"
    assert asked[asked.index("-D") + 1] == str(tiny.root), "the plugin submits from another folder"
