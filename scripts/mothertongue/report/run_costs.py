"""The costs of a run: time, memory and GPUs of each step, from the benchmarks and logs of its jobs.

A benchmark and a log have the same path below `benchmarks` and `logs`. The GPUs granted to a job are read from the line
that mothertongue.common.gpus logs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.atomic_files import read_object
from mothertongue.common.benchmarks import RECORD_OF_ENDPOINT, number, read_rows

_GPUS = re.compile(r"^runs on .*, GPUs (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class BenchmarkJob:
    """One job: wall and CPU time in seconds, peak memory in MB; None where not measured."""

    seconds: float | None
    cpu_seconds: float | None
    memory_mb: float | None
    gpus: int


@dataclass(frozen=True)
class Step:
    """The jobs of one workflow step, and their totals. `rule` is the rule's name, `label` what the page calls it."""

    rule: str
    label: str
    jobs: tuple[BenchmarkJob, ...]

    @property
    def seconds(self) -> float | None:
        """The summed wall time of all jobs."""
        return _sum(job.seconds for job in self.jobs)

    @property
    def cpu_seconds(self) -> float | None:
        """The summed CPU time of all jobs."""
        return _sum(job.cpu_seconds for job in self.jobs)

    @property
    def memory_mb(self) -> float | None:
        """The highest peak memory of any job."""
        return max((job.memory_mb for job in self.jobs if job.memory_mb is not None), default=None)

    def lacks(self, measure: str) -> bool:
        """Return whether a measure is known of some jobs, but not of all."""
        values = [getattr(job, measure) for job in self.jobs]
        return None in values and any(value is not None for value in values)

    @property
    def gpus(self) -> int:
        """The highest number of GPUs of any job."""
        return max((job.gpus for job in self.jobs), default=0)

    @property
    def gpu_hours(self) -> float | None:
        """GPUs times hours, summed over all jobs; None where the time of a job with GPUs was not measured."""
        on_gpus = [job for job in self.jobs if job.gpus]
        if any(job.seconds is None for job in on_gpus):
            return None
        return sum(job.gpus * (job.seconds or 0) for job in on_gpus) / 3600


def read(
    results: Path | None,
    lang: str,
    folder: str,
    models: Iterable[Path],
    adapters: Iterable[Path],
    pivots: Iterable[str],
) -> list[Step]:
    """Return the steps that made an adapter and its evaluation, in order; steps without a benchmark have no jobs.

    The paths are those of the rules' `benchmark:`, below the results folder's benchmarks/ and without suffix.

    `folder` is the adapter's folder within the language's (`variants/x/`, or empty), `models` are the fetched models,
    `adapters` the tuned adapters, `pivots` the source languages that were translated through English.
    """
    if results is None:
        return []
    fetched = sorted(_within(results, models))
    of_kind = {kind: [path for path in fetched if path.split("/")[1] == kind] for kind in ("translation", "base")}
    templates = [path.replace("/base/", "/templates/") for path in of_kind["base"]]
    # With several sources the name of each is a folder.
    through_english = [f"pivot/{folder}{source}/*" for source in pivots for folder in ("", "*/")]
    steps = [
        ("fetch", "fetch the dataset", ["source/messages", "source/*/messages"]),
        ("split", "split it into shards", ["source/shards"]),
        ("fetch_translation_model", "fetch translation models", of_kind["translation"]),
        ("fetch_estimator", "fetch the estimator of meaning", ["models/meaning/*"]),
        ("pivot", "translate into English, shared by all languages", through_english),
        ("translate", "translate", [f"{lang}/translated/*/*", f"{lang}/translated/*/*/*"]),
        ("answer", "let the teacher answer", [f"{lang}/answered/*/*", f"{lang}/answered/*/*/*"]),
        ("combine", "combine the dataset", [f"{lang}/dataset"]),
        ("threads", "extract threads", [f"{lang}/threads/*"]),
        ("preferences", "extract preferences", [f"{lang}/preferences/*"]),
        ("fetch_chat_template", "fetch the chat template", templates),
        ("fetch_base_model", "fetch the base model", of_kind["base"]),
        ("tune", "tune", _within(results, adapters)),
        ("evaluate", "evaluate", [f"{lang}/{folder}evaluation"]),
        ("fetch_benchmarks", "fetch the data of benchmarks", [f"source/benchmarks/{lang}"]),
        ("harness", "measure by the harness’s tasks", [f"{lang}/{folder}harness"]),
        ("judge", "ask the judge", [f"{lang}/{folder}judge"]),
    ]
    return [Step(rule, label, tuple(_jobs(results, paths))) for rule, label, paths in steps]


@dataclass(frozen=True)
class Asked:
    """What jobs asked of an endpoint: requests, tokens that its model read and wrote, and their price.

    `did` is what the endpoint did: it translated, answered, or judged.
    """

    did: str
    requests: int
    input_tokens: int
    output_tokens: int
    price: float


def asked(results: Path | None, lang: str) -> list[Asked]:
    """Return what was asked of endpoints for a language, by their records beside the benchmarks: each that has any."""
    if results is None:
        return []
    benchmarks = results / "benchmarks"
    by_task = {
        "translated": [benchmarks / lang / "translated", benchmarks / "pivot"],
        "answered": [benchmarks / lang / "answered"],
    }
    found = {
        did: [path for folder in folders for path in sorted(folder.rglob(f"*{RECORD_OF_ENDPOINT}"))]
        for did, folders in by_task.items()
    }
    return [_summed(did, paths) for did, paths in found.items() if paths]


def judging(results: Path | None, lang: str, folder: str) -> Asked | None:
    """Return what a judge was asked about an adapter, whose folder is `folder` within the language's; None for none."""
    path = results and results / "benchmarks" / lang / f"{folder}judge{RECORD_OF_ENDPOINT}"
    return _summed("judged", [path]) if path and path.is_file() else None


def _summed(did: str, paths: Iterable[Path]) -> Asked:
    """Return the sum of records."""
    records = [read_object(path) for path in paths]

    def summed(name: str) -> float:
        return sum(number(record, name) or 0 for record in records)

    requests, read, written = (round(summed(name)) for name in ("requests", "input_tokens", "output_tokens"))
    return Asked(did, requests, read, written, summed("price"))


def total(steps: Iterable[Step]) -> Step:
    """Return all steps as one."""
    return Step("all", "all", tuple(job for step in steps for job in step.jobs))


def _within(results: Path, paths: Iterable[Path]) -> list[str]:
    """Return paths relative to the results folder; paths outside it are not part of the run."""
    return [path.relative_to(results).as_posix() for path in paths if path.is_relative_to(results)]


def _jobs(results: Path, patterns: Iterable[str]) -> list[BenchmarkJob]:
    benchmarks = results / "benchmarks"
    # Only * is a pattern: a model's name may contain brackets.
    files = [file for pattern in patterns for file in sorted(benchmarks.glob(f"{pattern.replace('[', '[[]')}.jsonl"))]
    jobs = []
    for file in files:
        log = (results / "logs" / file.relative_to(benchmarks)).with_suffix(".log")
        gpus = _gpus(log)
        jobs += [
            BenchmarkJob(number(row, "s"), number(row, "cpu_time"), number(row, "max_rss"), gpus)
            for row in read_rows(file)
        ]
    return jobs


def _gpus(log: Path) -> int:
    """Return the number of GPUs of a job; 0 where its log does not record it."""
    try:
        said = _GPUS.findall(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return 0
    return 0 if not said or said[-1].strip() == "none" else len(said[-1].split(","))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
