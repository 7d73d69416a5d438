"""A run that goes on where Snakemake was killed on the login node: its jobs in Slurm work on, and nothing is lost."""

import hashlib
import json

from mothertongue import runs

# What the jobs in the queue are made from. It is written when a run begins.
MAKING = Path(".snakemake", "mothertongue.making")


@functools.cache
def making():
    """A checksum of the configuration and of all code."""
    files = sorted([Path("Snakefile"), *Path("rules").iterdir(), *Path("scripts").rglob("*.py")])
    content = json.dumps(config, sort_keys=True).encode() + b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


@functools.cache
def once_earlier_jobs_ended():
    """Wait for the jobs of an earlier run before it is decided what there is to do."""
    # A locked folder has a living run, or one to be unlocked first: Snakemake says so itself.
    locked = any(Path(".snakemake", "locks").glob("*"))
    if workflow.is_main_process and not workflow.local_exec and not locked:
        same = MAKING.is_file() and MAKING.read_text() == making()
        checked(slurm_jobs.wait_for_earlier, Path.cwd(), same)


def record_what_they_made():
    """Record what outputs were made from that were finished while no Snakemake watched.

    Without a record Snakemake could not tell later that they are stale.
    """
    if not MAKING.is_file() or MAKING.read_text() != making():
        return
    began = MAKING.stat().st_mtime
    for job in workflow.dag.jobs:
        if workflow.dag.needrun(job) or workflow.persistence.has_metadata(job):
            continue
        if all(Path(path).exists() and Path(path).stat().st_mtime > began for path in job.output):
            workflow.async_run(workflow.persistence.finished(job))


onstart:
    checked(runs.join, Path(config["results"]), Path.cwd())
    if not workflow.local_exec:
        record_what_they_made()
        MAKING.write_text(making())
