"""All that the workflow takes from Snakemake and its Slurm plugin beyond what their manuals promise, in one place.

Each function takes Snakemake's own object, such as the `workflow` of a Snakefile: the library itself never imports
Snakemake. Written for the version that Snakefile and constraints.txt name; a later one may move any of it, and
tests/workflow/test_snakemake_internals.py then says what.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# How the comments of the Slurm plugin's jobs begin; a regular expression.
JOB_COMMENTS = "rule_|group_"
# What a dry run prints: a date before each job, its rule, its fields, its command, and what it knows only after a
# checkpoint has run.
DATE = re.compile(r"^\s*\[[^]]+\]$")
RULE = re.compile(r"^\s*(?:local)?(?:rule|checkpoint) (\w+):$")
FIELD = re.compile(r"^\s+(input|output|wildcards|threads|resources): (.*)$")
COMMAND = "Shell command:"
UNDECIDED = "<TBD>"
# The line after which it prints jobs, and errors of the graph.
GRAPH = "Building DAG of jobs..."
# What it says on stderr before every run that a profile configures.
_PREAMBLE = re.compile(r"Using\b.* for setting default command line arguments\.")
# The files that a profile can be in; the number is the version from which one is for.
PROFILE_FILE = re.compile(r"(?:profile|config)(?:\.v(\d+)\+)?\.yaml")


def submits_jobs(workflow: Any) -> bool:
    """Whether jobs go to a cluster."""
    return not workflow.local_exec


def is_main_process(workflow: Any) -> bool:
    """Whether this is the Snakemake that a user started, and none of those that run a single job."""
    return workflow.is_main_process


def runs_jobs(workflow: Any) -> bool:
    """Whether jobs run, and are not only listed."""
    return bool(workflow.executor_plugin) and not workflow.dryrun


def is_locked(folder: Path) -> bool:
    """Whether a run works in a folder, or one was killed there."""
    return any(Path(folder, ".snakemake", "locks").glob("*"))


def await_checkpoint(checkpoint: Any, **wildcards: str) -> None:
    """End an input function here until a checkpoint has run, or need not; Snakemake asks again afterwards."""
    checkpoint.get(**wildcards)


def record_outputs_since(workflow: Any, began: float) -> None:
    """Record of all outputs written after a time, in seconds, that they are made from what they are now.

    Of those that a job finished while no Snakemake watched there is no record, and no later run could tell that they
    are stale. It is for `onstart`: the graph is known, and no job has begun.
    """
    for job in workflow.dag.jobs:
        if workflow.dag.needrun(job) or workflow.persistence.has_metadata(job):
            continue
        if all(Path(path).exists() and Path(path).stat().st_mtime > began for path in job.output):
            workflow.async_run(workflow.persistence.finished(job))


def default_resource(workflow: Any, name: str) -> str:
    """A resource of the profile's default-resources, as text; empty where it has none."""
    resource = workflow.resource_settings._parsed_default_resources.get(name)
    return "" if resource is None or resource.raw is None else str(resource.raw).strip("'\"")


def is_grouped(workflow: Any, *rules: str) -> bool:
    """Whether the profile puts several jobs of any of these rules into one job of the cluster.

    Snakemake knows it when it asks for the resources of a job, and not yet where rules are defined.
    """
    return any(rule in workflow.group_settings.overwrite_groups for rule in rules)


def error_lines(errors: str) -> Sequence[str]:
    """What Snakemake says of an error on stderr: its lines that are neither empty nor said before every run."""
    lines = [line.strip() for line in errors.splitlines()]
    return [line for line in lines if line and not _PREAMBLE.match(line)]
