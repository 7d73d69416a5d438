"""The estimated cost of a build, from a dry run: jobs by rule, GPU-hours, wall time, disk.

A job's time is the time of its rule's jobs in earlier runs, preferably of those most like it, or else an estimate, or
else the rule's time limit; the plan always states which, and where a job was measured, the estimate stands beside it.
Measured times are not scaled to another machine, model or setting.

The wall time is a sum over stages. A stage contains the rules that are equally many steps from the start of the data
flow, and waits for the whole stage before it. It takes as long as its longest job or, where that is more, its jobs'
summed times divided among what can work at once: GPUs, jobs in the queue, cores of the machine that Snakemake runs on.
It does not include waiting in the queue and retries.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from mothertongue.common import benchmarks
from mothertongue.common.errors import UserError
from mothertongue.common.progress import duration
from mothertongue.common.text_table import aligned
from mothertongue.endpoints.budget import Spent
from mothertongue.workflow import configuration
from mothertongue.workflow.dry_run import PlannedJob, Rule
from mothertongue.workflow.settings import defaults
from mothertongue.workflow.snakemake_internals import PROFILE_FILE, UNDECIDED

# The wildcards that make a rule's jobs alike, most important first: time depends more on shard than on target language.
_ALIKE = ("origin", "source", "shard", "split", "model", "variant", "stage", "lang")
_CLUSTER_GPUS = 8
# Where a time comes from, the strongest first.
_BASES = ("measured", "estimate", "limit")


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
    """The jobs of a rule and the seconds that each is expected to take; `basis` is "measured", "estimate" or "limit".

    `estimated` has the seconds of each job that there is an estimate for, measured or not.
    """

    rule: str
    stage: int
    where: str
    jobs: Sequence[PlannedJob]
    seconds: Sequence[float]
    basis: str
    gpu_hours: float
    estimated: Sequence[float] = ()

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
    # The disk space of conda's environments in MB by their names; empty where jobs have none of their own.
    environments: Mapping[str, int] = field(default_factory=dict)
    # What the endpoints are asked for, and the price, by their groups of the configuration; of a judge at most.
    endpoints: Mapping[str, tuple[Spent, float]] = field(default_factory=dict)

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


def configured(files: Iterable[Path], values: Iterable[str]) -> dict[str, Any]:
    """Return the configuration: the defaults, overridden by files and then by KEY=VALUE, as Snakemake does it.

    Values are not checked: the dry run does that. Raise UserError where a file cannot be read.
    """
    config = defaults()
    for path in files:
        config = configuration.lay_over(config, configuration.read(path))
    for key, value in (value.split("=", 1) for value in values if "=" in value):
        try:
            config = configuration.lay_over(config, {key: yaml.safe_load(value)})
        except yaml.YAMLError:
            raise UserError(f"--config {key}: not YAML: {value}") from None
    return config


def read_profile(name: str, folders: Iterable[Path]) -> tuple[str, dict[str, Any]]:
    """Return a profile's path and settings, searched in folders.

    Where there is none, return its name and no settings, for Snakemake to refuse.
    """
    for folder in folders:
        path = folder / name
        if path.is_file():
            return str(path), configuration.read(path)
        versions = {
            int(match[1] or 0): file
            for file in (path.iterdir() if path.is_dir() else [])
            if (match := PROFILE_FILE.fullmatch(file.name))
        }
        if versions:
            return str(path), configuration.read(versions[max(versions)])
    return name, {}


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


def uses_conda(profile: Mapping[str, Any]) -> bool:
    """Return whether jobs have an environment of their own."""
    methods = profile.get("software-deployment-method") or profile.get("sdm") or []
    return "conda" in ([methods] if isinstance(methods, str) else methods)


def environments(
    jobs: Iterable[PlannedJob], rules: Mapping[str, Rule], computed: Mapping[str, str], sizes: Mapping[str, int]
) -> dict[str, int]:
    """Return the environments that jobs run in, with their disk space in MB; `computed` has those of some rules."""
    known = [name for name in sorted({job.rule for job in jobs}) if name in rules]
    names = dict.fromkeys(computed.get(name) or rules[name].environment for name in known)
    return {name: sizes[name] for name in names if name in sizes}


def read_measurements(folder: Path, rules: Mapping[str, Rule]) -> list[Measurement]:
    """Return the times of earlier runs, from a folder's benchmarks, whose paths give rule and wildcards."""
    found = []
    for path in sorted(folder.rglob("*.jsonl")):
        matches = {name: rule.benchmark.fullmatch(str(path)) for name, rule in rules.items() if rule.benchmark}
        for name, match in matches.items():
            if match:
                found += [Measurement(name, match.groupdict(), seconds) for seconds in _seconds(path)]
    return found


def expected(job: PlannedJob, measurements: Iterable[Measurement], estimate: float | None = None) -> tuple[float, str]:
    """Return a job's seconds and their basis: the mean of its rule's jobs that are most like it, else the estimate.

    The last resort is the job's limit, which an estimate does not exceed either.
    """
    by_likeness: defaultdict[tuple[bool, ...], list[float]] = defaultdict(list)
    for measured in measurements:
        if measured.rule == job.rule:
            likeness = tuple(job.wildcards.get(key) == measured.wildcards.get(key) for key in _ALIKE)
            by_likeness[likeness].append(measured.seconds)
    if not by_likeness:
        limit = job.minutes * 60.0
        return (limit, "limit") if estimate is None else (min(estimate, limit), "estimate")
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
    jobs: Sequence[PlannedJob],
    rules: Mapping[str, Rule],
    measurements: Sequence[Measurement],
    at: Capacity,
    estimate: Callable[[PlannedJob], float | None] = lambda job: None,
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
        estimates = [estimate(job) for job in own]
        times = [expected(job, measurements, guess) for job, guess in zip(own, estimates, strict=True)]
        seconds = [time for time, _ in times]
        for job, time in zip(own, seconds, strict=True):
            used[stage].update({what: time * share for what, share in at.uses(job, local).items()})
        longest[stage] = max(longest.get(stage, 0.0), *seconds)
        gpu_hours = sum(min(job.gpus, at.gpus) * time for job, time in zip(own, seconds, strict=True)) / 3600
        # The weakest basis of the rule's jobs counts for all.
        basis = max((basis for _, basis in times), key=_BASES.index)
        estimated = [guess for guess in estimates if guess is not None]
        planned.append(RulePlan(name, stage, at.where(local), own, seconds, basis, gpu_hours, estimated))
    return Plan(at, planned, [max(longest[stage], *used[stage].values()) for stage in sorted(longest)])


def table(plan: Plan, targets: Sequence[str]) -> str:
    """Return the plan as text: one line per rule in the order of the data flow, the totals, and remarks."""
    if not plan.rules:
        return f"Nothing is left to do: {', '.join(targets)} stands and is up to date."
    beside = any(rule.basis == "measured" and rule.estimated for rule in plan.rules)
    head = ["rule", "jobs", "where", "threads", "memory", "GPUs", "time a job", "", "estimate", "GPU-hours", "disk"]
    rows = [head, *(_row(rule) for rule in plan.rules)]
    rows.append(["total", f"{plan.jobs:,}", *[""] * 7, _number(plan.gpu_hours), _gigabytes(plan.disk_mb)])
    if not beside:
        rows = [[*row[:8], *row[9:]] for row in rows]
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
        "environments_mb": dict(plan.environments),
        "endpoints": {
            group: asdict(asked) | {"price": round(cost, 2)} for group, (asked, cost) in plan.endpoints.items()
        },
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
                "estimated_seconds": round(sum(rule.estimated), 1) if rule.estimated else None,
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
        # Some of a rule's jobs may have an estimate where others have none.
        _duration(max(rule.seconds) if rule.basis == "limit" else _mean(rule.seconds)),
        rule.basis,
        _duration(_mean(rule.estimated)) if rule.estimated and rule.basis == "measured" else "",
        _number(rule.gpu_hours),
        _gigabytes(rule.disk_mb),
    ]


def _closing(plan: Plan) -> list[str]:
    bound = _bound(plan.rules)
    on_gpus = [rule for rule in plan.rules if rule.gpu_hours]
    hours = f"{_bound(on_gpus)} {_number(plan.gpu_hours)} GPU-hours" if on_gpus else "no GPU-hours"
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
    if plan.environments:
        size = _gigabytes(sum(plan.environments.values()))
        lines.append(
            f"Conda's {len(plan.environments)} environments take {size} more; runs with one --conda-prefix share them."
        )
    for group, (asked, cost) in plan.endpoints.items():
        price = f", for {cost:,.2f}" if cost else ""
        lines.append(
            f"The endpoint of {group} gets about {asked.requests:,} requests, reads {asked.input / 1e6:,.1f} million "
            f"tokens and writes {asked.output / 1e6:,.1f} million{price}; second attempts and answers that are kept "
            "not counted."
        )
    jobs = {basis: sum(len(rule.jobs) for rule in plan.rules if rule.basis == basis) for basis in _BASES}
    if not jobs["measured"]:
        lines.append("Nothing is measured yet.")
    elif jobs["measured"] < plan.jobs:
        lines.append(f"{jobs['measured']:,} of {plan.jobs:,} jobs have measured times.")
    if jobs["estimate"]:
        lines.append("An estimate is scaled from figures of other machines: expect half to twice as much.")
    if jobs["limit"]:
        lines.append("A limit is what a job is allowed, and most take far less.")
    if plan.undecided:
        lines.append("The shards are cut anew: what reads one that comes out as it was is not built again.")
    return lines


def _bound(rules: Iterable[RulePlan]) -> str:
    return "at most" if "limit" in {rule.basis for rule in rules} else "about"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


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
    """Return a duration without zero minutes or seconds at its end, from ten minutes in whole ones: `17 s`, `12 h`."""
    seconds = round(seconds / 60) * 60 if seconds >= 600 else round(seconds) if seconds >= 10 else seconds
    return re.sub(r" 0 (?:s|min)$|\.0(?= s$)", "", duration(seconds))
