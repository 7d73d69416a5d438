"""The estimated cost of a build, from a dry run: jobs by rule, GPU-hours, wall time, disk.

A job's time is the time of its rule's jobs in earlier runs, preferably of those most like it, or else the rule's time
limit; the plan always states which. Measured times are not scaled to another machine, model or setting.

The wall time is a sum over stages. A stage contains the rules that are equally many steps from the start of the data
flow, and waits for the whole stage before it. It takes as long as its longest job or, where that is more, its jobs'
summed times divided among what can work at once: GPUs, jobs in the queue, cores of the machine that Snakemake runs on.
It does not include waiting in the queue and retries.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from mothertongue.common import benchmarks
from mothertongue.common.errors import UserError
from mothertongue.common.progress import duration
from mothertongue.common.text_table import aligned
from mothertongue.workflow import configuration
from mothertongue.workflow.dry_run import PlannedJob, Rule
from mothertongue.workflow.snakemake_internals import PROFILE_FILE, UNDECIDED

# The wildcards that make a rule's jobs alike, most important first: time depends more on shard than on target language.
_ALIKE = ("source", "shard", "split", "model", "variant", "stage", "lang")
_CLUSTER_GPUS = 8


@dataclass(frozen=True)
class Measurement:
    """The duration of a job of an earlier run."""

    rule: str
    wildcards: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class Capacity:
    """The place where jobs run: the cluster's scheduler (None: this machine), and how much can be in use at once.

    If `jobs` is None, their number has no limit; if `gpus` is 0, the CPU does the work for GPUs.
    """

    cluster: str | None
    gpus: int
    jobs: int | None
    cores: int

    def where(self, local: bool) -> str:
        """Return where a rule's jobs run, in one word."""
        return self.cluster.capitalize() if self.cluster and not local else "local"

    def uses(self, job: PlannedJob, local: bool) -> dict[str, float]:
        """Return the shares of GPUs, cores and jobs in the queue that a job occupies."""
        shares = {"gpus": job.gpus / self.gpus if self.gpus else 0.0}
        if local or not self.cluster:
            shares["cores"] = job.threads / self.cores
        else:
            shares["jobs"] = 1 / self.jobs if self.jobs else 0.0
        return shares


@dataclass(frozen=True)
class RulePlan:
    """The jobs of a rule and the seconds that each is expected to take; `basis` is "measured" or "limit"."""

    rule: str
    stage: int
    where: str
    jobs: Sequence[PlannedJob]
    seconds: Sequence[float]
    basis: str
    gpu_hours: float

    @property
    def disk_mb(self) -> int:
        """The disk space that all jobs of the rule write."""
        return sum(job.disk_mb for job in self.jobs)


@dataclass(frozen=True)
class Plan:
    """All remaining jobs, by rule in the order of the data flow; `stages` are wall times in seconds."""

    place: Capacity
    rules: Sequence[RulePlan]
    stages: Sequence[float]

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return sum(len(rule.jobs) for rule in self.rules)

    @property
    def measured(self) -> int:
        """The number of jobs with a measured time."""
        return sum(len(rule.jobs) for rule in self.rules if rule.basis == "measured")

    @property
    def gpu_hours(self) -> float:
        """GPUs times hours, summed over all jobs."""
        return sum(rule.gpu_hours for rule in self.rules)

    @property
    def seconds(self) -> float:
        """The wall time, summed over the stages."""
        return sum(self.stages)

    @property
    def disk_mb(self) -> int:
        """The disk space that all jobs write."""
        return sum(rule.disk_mb for rule in self.rules)

    @property
    def undecided(self) -> bool:
        """Whether jobs wait for a checkpoint that runs again, and may turn out to be up to date."""
        return any(UNDECIDED in job.inputs for rule in self.rules for job in rule.jobs)


def target(name: str, results: str) -> str:
    """Return the target for a user's argument: a language's adapter, or the argument itself where it is a path."""
    return name if "/" in name else f"{results}/{name}/adapter"


def results_folder(default: Path, files: Iterable[Path], values: Iterable[str]) -> str:
    """Return the configured `results`: the default configuration's, overridden by files and then by KEY=VALUE."""
    config = configuration.read(default)
    for path in files:
        config = configuration.lay_over(config, configuration.read(path))
    pairs = dict(value.split("=", 1) for value in values if "=" in value)
    return pairs.get("results", str(config["results"]))


def read_profile(name: str, folders: Iterable[Path]) -> dict[str, Any]:
    """Return the settings of a profile, searched in folders; empty where there is none, for Snakemake to refuse."""
    for folder in folders:
        path = folder / name
        if path.is_file():
            return configuration.read(path)
        versions = {
            int(match[1] or 0): file
            for file in (path.iterdir() if path.is_dir() else [])
            if (match := PROFILE_FILE.fullmatch(file.name))
        }
        if versions:
            return configuration.read(versions[max(versions)])
    return {}


def place(profile: Mapping[str, Any], machine_gpus: int, machine_cores: int, gpus: int | None = None) -> Capacity:
    """Return where a profile runs jobs; `gpus` defaults to eight on a cluster, and to its own GPUs on one machine."""
    executor = profile.get("executor", "local")
    if executor == "local":
        cores = profile.get("cores", profile.get("jobs"))
        return Capacity(
            None, machine_gpus if gpus is None else gpus, None, cores if isinstance(cores, int) else machine_cores
        )
    jobs = profile.get("jobs")
    return Capacity(
        str(executor),
        _CLUSTER_GPUS if gpus is None else gpus,
        jobs if isinstance(jobs, int) else None,
        int(profile.get("local-cores", machine_cores)),
    )


def read_measurements(folder: Path, rules: Mapping[str, Rule]) -> list[Measurement]:
    """Return the times of earlier runs, from a folder's benchmarks, whose paths give rule and wildcards."""
    found = []
    for path in sorted(folder.rglob("*.jsonl")):
        matches = {name: rule.benchmark.fullmatch(str(path)) for name, rule in rules.items() if rule.benchmark}
        for name, match in matches.items():
            if match:
                found += [Measurement(name, match.groupdict(), seconds) for seconds in _seconds(path)]
    return found


def expected(job: PlannedJob, measurements: Iterable[Measurement]) -> tuple[float, str]:
    """Return a job's seconds and their basis: the mean of its rule's jobs that are most like it, else its limit."""
    by_likeness: defaultdict[tuple[bool, ...], list[float]] = defaultdict(list)
    for measured in measurements:
        if measured.rule == job.rule:
            likeness = tuple(job.wildcards.get(key) == measured.wildcards.get(key) for key in _ALIKE)
            by_likeness[likeness].append(measured.seconds)
    if not by_likeness:
        return job.minutes * 60.0, "limit"
    seconds = by_likeness[max(by_likeness)]
    return sum(seconds) / len(seconds), "measured"


def stages(jobs: Iterable[PlannedJob]) -> dict[str, int]:
    """Return the number of data-flow steps before each rule that has jobs."""
    jobs = list(jobs)
    makers = {path: job.rule for job in jobs for path in job.outputs}
    before: dict[str, set[str]] = {job.rule: set() for job in jobs}
    for job in jobs:
        before[job.rule] |= {makers[path] for path in job.inputs if path in makers} - {job.rule}
    steps: dict[str, int] = {}
    for rule in TopologicalSorter(before).static_order():
        steps[rule] = 1 + max((steps[earlier] for earlier in before[rule]), default=-1)
    return steps


def make(
    jobs: Sequence[PlannedJob], rules: Mapping[str, Rule], measurements: Sequence[Measurement], at: Capacity
) -> Plan:
    """Return the plan of a dry run's jobs. Raise UserError where a job needs more GPUs than the cluster can give."""
    steps = stages(jobs)
    planned = []
    used: defaultdict[int, Counter[str]] = defaultdict(Counter)
    longest: dict[int, float] = {}
    for name, stage in sorted(steps.items(), key=lambda item: (item[1], item[0])):
        own = [job for job in jobs if job.rule == name]
        local = name in rules and rules[name].local
        most = max(job.gpus for job in own)
        if at.cluster and most > at.gpus:
            raise UserError(f"{name} asks for {most} GPUs a job, and --gpus says that {at.gpus} can be had")
        times = [expected(job, measurements) for job in own]
        seconds = [time for time, _ in times]
        for job, time in zip(own, seconds, strict=True):
            used[stage].update({what: time * share for what, share in at.uses(job, local).items()})
        longest[stage] = max(longest.get(stage, 0.0), *seconds)
        gpu_hours = sum(min(job.gpus, at.gpus) * time for job, time in zip(own, seconds, strict=True)) / 3600
        planned.append(RulePlan(name, stage, at.where(local), own, seconds, times[0][1], gpu_hours))
    return Plan(at, planned, [max(longest[stage], *used[stage].values()) for stage in sorted(longest)])


def table(plan: Plan, targets: Sequence[str]) -> str:
    """Return the plan as text: one line per rule in the order of the data flow, the totals, and remarks."""
    if not plan.rules:
        return f"Nothing is left to do: {', '.join(targets)} stands and is up to date."
    rows = [["rule", "jobs", "where", "threads", "memory", "GPUs", "time a job", "", "GPU-hours", "disk"]]
    rows += [_row(rule) for rule in plan.rules]
    rows.append(["total", f"{plan.jobs:,}", *[""] * 6, _number(plan.gpu_hours), _gigabytes(plan.disk_mb)])
    return "\n".join([*aligned(rows, left={0, 2, 7}), "", *_closing(plan)])


def as_json(plan: Plan, targets: Sequence[str], profile: str) -> dict[str, Any]:
    """Return the plan for programs; times in seconds, memory and disk in MB."""
    return {
        "targets": list(targets),
        "profile": profile,
        "gpus": plan.place.gpus,
        "jobs": plan.jobs,
        "measured_jobs": plan.measured,
        "gpu_hours": round(plan.gpu_hours, 3),
        "wall_seconds": round(plan.seconds, 1),
        "stage_seconds": [round(seconds, 1) for seconds in plan.stages],
        "disk_mb": plan.disk_mb,
        "complete": not plan.undecided,
        "rules": [
            {
                "rule": rule.rule,
                "stage": rule.stage,
                "where": rule.where,
                "jobs": len(rule.jobs),
                "threads": max(job.threads for job in rule.jobs),
                "memory_mb": max(job.memory_mb for job in rule.jobs),
                "gpus": max(job.gpus for job in rule.jobs),
                "limit_minutes": max(job.minutes for job in rule.jobs),
                "basis": rule.basis,
                "seconds": round(sum(rule.seconds), 1),
                "longest_seconds": round(max(rule.seconds), 1),
                "gpu_hours": round(rule.gpu_hours, 3),
                "disk_mb": rule.disk_mb,
            }
            for rule in plan.rules
        ],
    }


def _seconds(path: Path) -> list[float]:
    """Return the times in a benchmark file."""
    times = [benchmarks.number(row, "s") for row in benchmarks.read_rows(path)]
    return [time for time in times if time is not None]


def _row(rule: RulePlan) -> list[str]:
    jobs = rule.jobs
    return [
        rule.rule,
        f"{len(jobs):,}",
        rule.where,
        _range(job.threads for job in jobs),
        f"{_range(job.memory_mb / 1000 for job in jobs)} GB",
        _range(job.gpus for job in jobs),
        _duration(sum(rule.seconds) / len(rule.seconds)),
        f"({rule.basis})",
        _number(rule.gpu_hours),
        _gigabytes(rule.disk_mb),
    ]


def _closing(plan: Plan) -> list[str]:
    measured = {rule.basis for rule in plan.rules} == {"measured"}
    bound = "about" if measured else "at most"
    on_gpus = [rule for rule in plan.rules if rule.gpu_hours]
    gpu_bound = "about" if {rule.basis for rule in on_gpus} == {"measured"} else "at most"
    hours = f"{gpu_bound} {_number(plan.gpu_hours)} GPU-hours" if on_gpus else "no GPU-hours"
    if not plan.place.gpus and any(job.gpus for rule in plan.rules for job in rule.jobs):
        hours += " (this machine has no GPU: its CPU does the work)"
    count = f"{plan.jobs:,} job{'s' if plan.jobs > 1 else ''}"
    at_once = f" with {_gpus(plan.place.gpus)} at once" if on_gpus else ""
    lines = [
        f"{count}; {hours}; {_gigabytes(plan.disk_mb)} of disk",
        f"Done in {bound} {_duration(plan.seconds)}{at_once}; waiting in the queue and second tries not counted."
        if plan.place.cluster
        else f"Done in {bound} {_duration(plan.seconds)} on {plan.place.cores} cores{at_once}.",
    ]
    if not plan.measured:
        lines.append("Nothing is measured yet: a limit is what a job is allowed, and most take far less.")
    elif not measured:
        lines.append(
            f"{plan.measured:,} of {plan.jobs:,} jobs have measured times; a limit is what a job is allowed, "
            "and most take far less."
        )
    if plan.undecided:
        lines.append("The shards are cut anew: what reads one that comes out as it was is not built again.")
    return lines


def _range(values: Iterable[float]) -> str:
    values = list(values)
    low, high = _number(min(values)), _number(max(values))
    return low if low == high else f"{low}-{high}"


def _gpus(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"


def _gigabytes(megabytes: float) -> str:
    return f"{_number(megabytes / 1000)} GB"


def _number(value: float) -> str:
    """Return a number rounded to its informative digits: 0.05, 3.8, 24, 1,200."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 1 or not value else f"{value:.2g}"


def _duration(seconds: float) -> str:
    """Return a duration without zero minutes or seconds at its end: `30 min`, `12 h`."""
    return re.sub(r" 0 (?:s|min)$", "", duration(seconds))
