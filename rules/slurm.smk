"""A run that goes on where Snakemake was killed on the login node: its jobs in Slurm work on, and nothing is lost."""

import hashlib
import json

from mothertongue.workflow import runs

# What the jobs in the queue are made from. It is written when a run begins.
FINGERPRINT = Path(".snakemake", "mothertongue.making")


@functools.cache
def fingerprint():
    """A checksum of the configuration and of all code."""
    files = sorted([Path("Snakefile"), *Path("rules").iterdir(), *Path("scripts").rglob("*.py")])
    content = json.dumps(config, sort_keys=True).encode() + b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


@functools.cache
def after_earlier_jobs():
    """Wait for the jobs of an earlier run before it is decided what there is to do."""
    # A locked folder has a living run, or one to be unlocked first: Snakemake says so itself.
    locked = snakemake_internals.is_locked(Path())
    submits = snakemake_internals.is_main_process(workflow) and snakemake_internals.submits_jobs(workflow)
    if submits and not locked:
        same = FINGERPRINT.is_file() and FINGERPRINT.read_text() == fingerprint()
        checked(slurm.wait_for_earlier, Path.cwd(), same)


def record_what_they_made():
    """Record what outputs were made from that were finished while no Snakemake watched.

    Without a record Snakemake could not tell later that they are stale.
    """
    if FINGERPRINT.is_file() and FINGERPRINT.read_text() == fingerprint():
        snakemake_internals.record_outputs_since(workflow, FINGERPRINT.stat().st_mtime)


onstart:
    checked(runs.join, Path(config["results"]), Path.cwd())
    if snakemake_internals.submits_jobs(workflow):
        record_what_they_made()
        FINGERPRINT.write_text(fingerprint())
