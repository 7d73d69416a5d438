"""Tests of the chain on Slurm, also when jobs, nodes or Snakemake itself are lost. The tests build on one another."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
import slurm
import yaml
from running import Run
from waiting import LIMIT, until

DATASET = "results/pt/dataset/train.parquet"
ADAPTER = "results/pt/adapter"
pytestmark = pytest.mark.usefixtures("cluster")


def translated(site):
    """Return all columns of the shards but `score`, of which the last digits depend on what was translated together.

    Segments that a cancelled job has put into the translation memory are not translated again.
    """
    shards = sorted(site.root.glob("results/pt/translated/**/*.parquet"))
    return {shard.relative_to(site.root): pq.read_table(shard).drop_columns("score").to_pylist() for shard in shards}


def submitted(output):
    """Return the rule and wildcards of each Slurm job in the output of a run."""
    return re.findall(r"submitted with SLURM jobid \d+ \(log: \S*/(rule_\w+/\S+)/\d+\.log\)", output)


def again(site, *patterns):
    """Remove outputs, so that they are built again."""
    for pattern in patterns:
        for path in site.root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def first(whole_site):
    """Run the whole chain; return the run, the largest set of GPUs that translated at once, and the translations."""
    run = whole_site.start(ADAPTER)
    most = set()
    while run.process.poll() is None:
        running = [job for job in slurm.queue() if job.rule == "translate" and job.state == "RUNNING" and job.gpus]
        most = max(most, set().union(*(job.devices for job in running)), key=len)
    return run.succeed(), most, translated(whole_site)


def test_shards_use_all_gpus_and_other_jobs_stay_on_the_login_node(site, first):
    run, devices, _ = first
    assert devices == {("gpu1", 0), ("gpu1", 1), ("gpu2", 0), ("gpu2", 1)}
    assert sorted(submitted(run.output)) == ["rule_translate/results_pt__en_0", "rule_translate/results_pt__en_1",
        "rule_translate/results_pt__en_2", "rule_translate/results_pt__en_3", "rule_translate/results_pt__pt_0",
        "rule_tune/results_pt__"]  # fmt: skip
    assert run.jobs == {"fetch": 1, "split": 1, "fetch_translation_model": 1, "fetch_base_model": 1, "translate": 5,
        "combine": 1, "threads": 2, "tune": 1}  # fmt: skip
    # One log per job, with the node it ran on.
    logs = {path.stem: path.read_text() for path in site.root.glob("results/logs/pt/translated/en/*.log")}
    assert len(logs) == 4 and len({re.search(r"runs on (.*)", log)[1] for log in logs.values()}) == 4
    assert "runs on gpu" in (site.root / "results/logs/pt/adapter.log").read_text()
    # One environment per rule.
    assert len([call for call in (site.root / "conda/calls.log").read_text().splitlines() if "create" in call]) >= 4


def test_a_second_run_submits_nothing(site, first):
    run = site.start(ADAPTER).succeed()
    assert run.jobs == {} and not submitted(run.output)


def test_jobs_go_to_the_partition_that_fits_them(site, first):
    again(site, "results/pt/translated/*/0.parquet")
    partitions = site.root / "profiles/slurm/partitions.yaml"
    assert list(yaml.safe_load(partitions.read_text())["partitions"]) == ["gpu", "cpu"]
    partitions.write_text(partitions.read_text().replace("  cpu:", "  urgent:"))
    targets = ("results/pt/translated/en/0.parquet", "results/pt/translated/pt/0.parquet")
    run = site.start("--slurm-partition-config", str(partitions), "--", *targets).succeed()
    # The native shard needs no GPU.
    chosen = re.findall(r"Auto-selected partition '(\w+)' for job translate", run.output)
    assert sorted(chosen) == ["gpu", "urgent"], run.output[-3000:]
    assert translated(site) == first[2]


def test_a_cancelled_job_is_retried_with_more_memory(site, first):
    again(site, "results/pt/translated/en/0.parquet")
    run = site.start("results/pt/translated/en/0.parquet")
    (job,) = run.running("translate")
    slurm.slurm("scancel", job.id)
    (second,) = until(lambda: [other for other in slurm.queue() if other.id != job.id])
    assert second.memory_mb == 2 * job.memory_mb
    assert run.succeed().jobs["translate"] == 1
    assert translated(site) == first[2]


def test_a_job_that_exceeds_its_memory_is_retried_with_more(site, first):
    again(site, "results/pt/translated/en/1.parquet")
    run = site.start(
        "results/pt/translated/en/1.parquet", "--set-resources", "translate:mem_mb=60 if attempt == 1 else 2000"
    )
    assert run.succeed().jobs["translate"] == 1
    assert run.output.count("submitted with SLURM jobid") == 2, run.output[-3000:]
    assert translated(site) == first[2]


def test_jobs_of_a_failed_node_run_on_another(site, first, cluster):
    again(site, "results/pt/translated/en/*.parquet", DATASET)
    run = site.start(DATASET)
    lost = [job for job in run.running("translate", 4) if job.node == "gpu1"]
    cluster.power_off("gpu1")
    try:
        assert len(lost) == 2 and run.succeed().jobs["translate"] == 4
        assert translated(site) == first[2]
    finally:
        cluster.start_node("gpu1")
        until(lambda: cluster.states()["gpu1"] == "idle")


def test_a_restarted_snakemake_submits_no_job_twice(site, first):
    """Snakemake is a Slurm job itself, both times: on the login node it does the same."""
    # Without the translation memory the jobs still run when the second Snakemake looks.
    again(site, "results/pt/translated/en/*.parquet", "results/memory/*.parquet", DATASET)
    killed = site.submit(DATASET)
    until(lambda: len([job for job in slurm.queue() if job.rule == "translate" and job.state == "RUNNING"]) == 4)
    with held([job.id for job in slurm.queue() if job.rule == "translate"]):
        slurm.slurm("scancel", killed.id)
        until(lambda: killed.id not in [job.id for job in slurm.queue()])
        unlock(site)
        run = site.submit(DATASET)
        until(lambda: run.file.exists() and "Slurm jobs of an earlier run" in run.file.read_text())
    until(lambda: run.id not in [job.id for job in slurm.queue()])
    done = Run(0, run.file.read_text())
    assert re.search(
        r"waiting for [1-4] Slurm jobs of an earlier run; to cancel them instead: scancel \d+", done.output
    )
    assert not submitted(done.output) and done.jobs == {"combine": 1}
    assert translated(site) == first[2]
    # Outputs that were made without a running Snakemake also become stale when their settings change.
    stale = site.start(DATASET, "-n", "--config", "quality={score: -0.7}").succeed()
    assert re.search(r"translate +4\n", stale.output)


def test_jobs_of_other_settings_are_neither_waited_for_nor_is_their_output_used(site, first):
    shard = "results/pt/translated/en/0.parquet"
    again(site, shard, "results/memory/*.parquet")
    killed = site.start(shard, "--config", "quality={score: -0.7}")
    (job,) = killed.running("translate")
    with held([job.id]):
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(30)
        unlock(site)
        run = site.start(shard).wait()
        assert run.code == 1 and f"cancel them: scancel {job.id}" in run.output and not submitted(run.output)
    until(lambda: not slurm.queue())
    assert (site.root / shard).exists()
    # It ended without a running Snakemake: its output is of the other settings all the same.
    assert site.start(shard).succeed().jobs == {"translate": 1}
    assert translated(site) == first[2]


@contextmanager
def held(jobs):
    """Suspend jobs in the block, so that they still run in it, however busy the machine is."""
    for job in jobs:
        slurm.slurm("scontrol", "suspend", job)
    try:
        yield
    finally:
        for job in jobs:
            slurm.slurm("scontrol", "resume", job)


def unlock(site):
    subprocess.run(site.command("--unlock"), cwd=site.root, env=site.environment(), timeout=LIMIT, check=True)


def test_ctrl_c_cancels_the_queued_jobs(site, first):
    again(site, "results/pt/translated/en/*.parquet", DATASET)
    run = site.start(DATASET)
    run.running("translate", 2)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait().code != 0
    until(lambda: not slurm.queue(), 30)
    assert not list(site.root.glob("results/pt/translated/en/.*partial"))
    assert site.start(DATASET).succeed().jobs["translate"] == 4
    assert translated(site) == first[2]


def test_short_shards_share_a_job(site, first):
    """Uncomment the last lines of the profile, which group jobs."""
    profile = site.root / "profiles/slurm/config.yaml"
    text = profile.read_text()
    profile.write_text(
        re.sub(r"^# (groups|group-components|resources|set-resource-scopes):", r"\1:", text, flags=re.MULTILINE)
    )
    again(site, "results/pt/translated/en/*.parquet", DATASET)
    run = site.start(DATASET)
    (job,) = run.running("shards_translate")
    assert len(job.gpus) == 1
    assert run.succeed().jobs == {"translate": 4, "combine": 1} and run.output.count("submitted with SLURM jobid") == 1
    profile.write_text(text)
    assert translated(site) == first[2]


def test_tuning_continues_over_several_jobs_if_each_is_too_short(site, first):
    threads, base = site.root / "results/pt/threads/train.jsonl", next((site.root / "results/models/base").iterdir())

    def recorded(folder):
        return json.loads((folder / "training.json").read_text())

    # Jobs compute with the threads of their rule; another number gives other digits (see training.compute_with).
    cpu_threads = recorded(site.root / ADAPTER)["machine"]["cpu_threads"]
    # Measure the steps of one job within its time, and choose a number of steps that needs more than one job. A busy
    # machine may take more than the least time of Slurm, a minute, to load a model.
    site.configure(tuning={"max_steps": 100_000})
    for minutes in range(1, 6):
        short = ("--set-resources", f"tune:runtime={minutes}")
        enough = site.start(ADAPTER, *short, "--preemptible-retries=0").wait()
        assert enough.code != 0
        if reached := re.search(r"stopped after step (\d+) of", enough.output):
            break
    # The last job ends long before its limit, where Slurm may end it before Snakemake knows that it is done.
    site.configure(tuning={"max_steps": round(1.5 * int(reached[1]))})
    options = next(line for line in run_options(site) if line.startswith("--"))
    run = site.start(ADAPTER, *short)
    # Run the same training by hand, in parallel with the jobs.
    subprocess.run(
        [sys.executable, "scripts/tune.py", "--data", threads, "--validation",
         site.root / "results/pt/threads/validation.jsonl", "--base-model", base, "--template",
         "config/templates/chatml.jinja", "--target", "pt", "--name", "Portuguese", *options.split(),
         "--gpus", "1", "--cpu-threads", str(cpu_threads), "--output", site.root / "alone"],
        cwd=site.root, env=site.environment(), timeout=LIMIT, check=True,
    )  # fmt: skip
    done = run.succeed()
    assert done.jobs == {"tune": 1}
    assert len(submitted(done.output)) >= 2
    assert "going on from step" in (site.root / "results/logs/pt/adapter.log").read_text()
    jobs, alone = (recorded(site.root / folder) for folder in (ADAPTER, "alone"))
    assert jobs["machine"] == alone["machine"] and jobs["training"]["losses"] == alone["training"]["losses"]
    weights = [site.root / folder / "adapter_model.safetensors" for folder in (ADAPTER, "alone")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not (site.root / f"{ADAPTER}.checkpoints").exists()


def run_options(site):
    """Return the lines of the rule's command that contain the tuning options."""
    done = subprocess.run(
        site.command("-n", "--printshellcmds", "--nolock", "--forcerun", "tune", "--", ADAPTER), cwd=site.root, env=site.environment(), timeout=LIMIT,
        capture_output=True, text=True,
    )  # fmt: skip
    return [
        line.strip().rstrip("\\ ") for line in (done.stdout + done.stderr).splitlines() if "--quantization=" in line
    ]
