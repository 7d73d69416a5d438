"""All uses of Snakemake and its Slurm plugin that their manuals do not document, in one place.

Each function takes Snakemake's own object, such as the `workflow` of a Snakefile: the library itself never imports
Snakemake. Written for the version in Snakefile and constraints.txt; a later one may move any of it, and
tests/workflow/test_snakemake_internals.py then shows what.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# The beginnings of the comments of the Slurm plugin's jobs; a regular expression.
JOB_COMMENTS = "rule_|group_"
# The output of a dry run: a date before each job, its rule, fields and command, and a placeholder for what is known
# only after a checkpoint has run.
DATE = re.compile(r"^\s*\[[^]]+\]$")
RULE = re.compile(r"^\s*(?:local)?(?:rule|checkpoint) (\w+):$")
FIELD = re.compile(r"^\s+(input|output|wildcards|threads|resources): (.*)$")
COMMAND = "Shell command:"
UNDECIDED = "<TBD>"
# The line after which it prints jobs, and errors of the graph.
GRAPH = "Building DAG of jobs..."
# What it prints to stderr before every run with a profile.
_PREAMBLE = re.compile(r"Using\b.* for setting default command line arguments\.")
# The checkpoints that were found, by their name and place.
_CHECKPOINTS: dict[tuple[str, str], Any] = {}
# The environment variable with the size up to which inputs get a checksum, in bytes.
CHECKSUM_LIMIT = "MOTHERTONGUE_CHECKSUM_LIMIT"
# The names of a profile's file; the number is the lowest version of Snakemake that it is for.
PROFILE_FILE = re.compile(r"(?:profile|config)(?:\.v(\d+)\+)?\.yaml")


def submits_jobs(workflow: Any) -> bool:
    """Return whether jobs go to a cluster."""
    return not workflow.local_exec


def submits_to_slurm(workflow: Any) -> bool:
    """Return whether jobs go to Slurm."""
    return submits_jobs(workflow) and getattr(workflow.executor_plugin, "name", "") == "slurm"


def is_main_process(workflow: Any) -> bool:
    """Return whether this is the Snakemake that a user started, and not one that runs a single job."""
    return workflow.is_main_process


def runs_jobs(workflow: Any) -> bool:
    """Return whether jobs run, and are not only listed."""
    return bool(workflow.executor_plugin) and not workflow.dryrun


def is_locked(folder: Path) -> bool:
    """Return whether a run works in a folder, or was killed there."""
    return any(Path(folder, ".snakemake", "locks").glob("*"))


def find_checkpoint(checkpoints: Any, name: str, place: str) -> Any:
    """Return a checkpoint of the rules that are being defined, which build at a place; None where there is none.

    `use rule ... with` of a module defines its rules again, without those that are not used again: the checkpoint is
    then that of the first time.
    """
    if found := vars(checkpoints).get(name):
        _CHECKPOINTS[name, place] = found
    return _CHECKPOINTS.get((name, place))


def await_checkpoint(checkpoint: Any, **wildcards: str) -> None:
    """Stop an input function until a checkpoint has run, or need not run; Snakemake calls it again afterwards."""
    checkpoint.get(**wildcards)


def add_onstart(workflow: Any, function: Callable[[], None]) -> None:
    """Call a function before jobs run, and before the workflow's own `onstart`: a module's does not run."""
    own = workflow._onstart

    def both(log: Any) -> None:
        function()
        own(log)

    workflow._onstart = both


def pass_to_jobs(workflow: Any, name: str, value: str) -> None:
    """Give the jobs of a cluster an environment variable."""
    os.environ[name] = value
    # For schedulers that do not pass on the environment.
    workflow.register_envvars(name)


def pass_checksum_limit(workflow: Any) -> None:
    """Give jobs the size up to which inputs get a checksum, for `record_in_jobs`. Call it before jobs run.

    Snakemake does not pass it on, and without a checksum an input that is only touched makes what is recorded stale.
    """
    pass_to_jobs(workflow, CHECKSUM_LIMIT, str(workflow.dag_settings.max_checksum_file_size))


def record_in_jobs() -> None:
    """Let a process that runs one job record what its outputs are made from, as Snakemake does when it hears of them.

    Outputs of jobs that finish while no Snakemake is running would have no record, and no later run could detect that
    they are stale, or of other settings.
    """
    persistence: Any = sys.modules["snakemake.persistence"].PersistenceBase
    own = persistence.finished

    async def finished(self: Any, job: Any) -> None:
        settings = self.dag.workflow.remote_execution_settings
        # Where nobody waits for jobs, they record it themselves.
        settings.immediate_submit = True
        self.max_checksum_file_size = int(os.getenv(CHECKSUM_LIMIT, self.max_checksum_file_size))
        try:
            await own(self, job)
        finally:
            settings.immediate_submit = False

    persistence.finished = finished


def make_again_what_failed() -> None:
    """Let outputs with `update` count as incomplete after their job has failed.

    Snakemake restores what they were, with a new time, and records it as what the job made: nothing would be left to
    do, whatever was wrong.
    """
    jobs: Any = sys.modules["snakemake.jobs"]
    own = jobs.Job.postprocess

    async def postprocess(self: Any, *arguments: Any, error: bool = False, **others: Any) -> None:
        await own(self, *arguments, error=error, **others)
        if error and any(jobs.is_flagged(output, "update") for output in self.output):
            self.dag.workflow.persistence.started(self)

    jobs.Job.postprocess = postprocess


def module_name(workflow: Any) -> str | None:
    """Return the name of the module that this is in another workflow, or None. Call it where rules are defined."""
    name: str | None = workflow.modifier.namespace
    return name


def is_module(workflow: Any) -> bool:
    """Return whether another workflow uses this one as a module. Call it where rules are defined."""
    return module_name(workflow) is not None


def prefix(workflow: Any) -> str:
    """Return what a module puts before its outputs, with the slash; else nothing. Call it where rules are defined."""
    return str(workflow.modifier.path_modifier.replace_prefix(""))


def storage(workflow: Any) -> str | None:
    """Return the default storage provider of results; None where they are on disk."""
    return workflow.storage_settings.default_storage_provider


def shell_prefix(shell: Any) -> str:
    """Return what Snakemake's `shell` puts before all commands, for `shell.prefix`."""
    return (shell._process_prefix or "").replace("{", "{{").replace("}", "}}")


def targets(command: Sequence[str], form: re.Pattern[str]) -> list[str]:
    """Return the targets of a form on the command line that runs Snakemake in this process.

    None where something else runs it. Snakemake itself tells them to the workflow only after the rules.
    """
    program = sys.modules.get("snakemake.cli")
    if not program or not any(map(form.fullmatch, command[1:])):
        return []
    try:
        found = program.parse_args(command[1:])[1].targets
    except (Exception, SystemExit):
        return []
    return [target for target in map(str, found) if form.fullmatch(target)]


def default_resource(workflow: Any, name: str) -> str:
    """Return a resource of the profile's default-resources as text; empty where it is not set."""
    resource = workflow.resource_settings._parsed_default_resources.get(name)
    return "" if resource is None or resource.raw is None else str(resource.raw).strip("'\"")


def is_grouped(workflow: Any, *rules: str) -> bool:
    """Return whether the profile puts several jobs of any of these rules into one job of the cluster.

    Snakemake knows this when it evaluates the resources of a job, and not yet where rules are defined.
    """
    return any(rule in workflow.group_settings.overwrite_groups for rule in rules)


def error_lines(errors: str) -> Sequence[str]:
    """Return Snakemake's error lines on stderr: those that are neither empty nor printed before every run."""
    lines = [line.strip() for line in errors.splitlines()]
    return [line for line in lines if line and not _PREAMBLE.match(line)]
