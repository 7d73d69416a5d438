"""Runs that resume after Snakemake was killed on the login node: its Slurm jobs continue, and nothing is lost."""

import hashlib
import json

from mothertongue.workflow import runs

# The fingerprint of the configuration and code of the queued jobs, written when a run begins.
FINGERPRINT = Path(".snakemake", "mothertongue.making")


@functools.cache
def fingerprint():
    """Return a checksum of the configuration and of all code."""
    patterns = ("Snakefile", "rules/*.smk", "scripts/**/*.py", "scripts/**/*.jinja")
    files = sorted(path for pattern in patterns for path in WORKFLOW_FOLDER.glob(pattern))
    content = json.dumps(config, sort_keys=True).encode() + b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


@functools.cache
def after_earlier_jobs():
    """Wait for the jobs of an earlier run before Snakemake decides which jobs to run."""
    # A module's onstart does not run.
    if IS_MODULE and snakemake_internals.is_main_process(workflow):
        snakemake_internals.add_onstart(workflow, begin)
    # A locked folder has a running Snakemake, or must be unlocked first: Snakemake reports that itself.
    locked = snakemake_internals.is_locked(Path())
    submits = snakemake_internals.is_main_process(workflow) and snakemake_internals.submits_to_slurm(workflow)
    if submits and not locked:
        same = FINGERPRINT.is_file() and FINGERPRINT.read_text() == fingerprint()
        checked(slurm.wait_for_earlier, Path.cwd(), same)


def begin():
    """Lock the results folder for this working directory, and keep and pass on what resuming needs, before jobs run."""
    checked(runs.join, Path(RESULTS), Path.cwd())
    snakemake_internals.pass_checksum_limit(workflow)
    if snakemake_internals.submits_to_slurm(workflow):
        FINGERPRINT.write_text(fingerprint())


def check_same():
    """Pass a checksum of the configuration on to the jobs of a cluster; end one that reads another.

    They read it again, and the Snakemake that submitted them records their outputs as of its own.
    """
    # Modules have configurations of their own.
    place = configuration.fingerprint(snakemake_internals.module_name(workflow), PREFIX)
    name = f"MOTHERTONGUE_CONFIGURATION_{place[:8]}"
    own = configuration.fingerprint(config, LANGUAGES, translations.pairs, evaluations.benchmarks)
    if snakemake_internals.is_main_process(workflow):
        snakemake_internals.pass_to_jobs(workflow, name, own)
    elif os.getenv(name, own) != own:
        sys.exit(
            "error: the configuration or a table of config/ has changed since Snakemake submitted this job, and it would "
            "record the result as made by the former; undo the change, or end that Snakemake and start it again"
        )


check_same()


onstart:
    begin()


if not snakemake_internals.is_main_process(workflow):
    snakemake_internals.record_in_jobs()
