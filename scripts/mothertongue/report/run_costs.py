"""What a run took: time, memory and GPUs of each step, from the benchmarks and logs of its jobs.

A benchmark and a log stand at the same path below `benchmarks` and `logs`. What a job was granted, its log says in the
line that mothertongue.gpus writes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.benchmarks import number, read_rows

_GPUS = re.compile(r"^runs on .*, GPUs (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class BenchmarkJob:
    """One job: wall and CPU time in seconds, peak memory in MB; what was not measured is None."""

    seconds: float | None
    cpu_seconds: float | None
    memory_mb: float | None
    gpus: int


@dataclass(frozen=True)
class Step:
    """The jobs of one step of the workflow, added up."""

    name: str
    jobs: tuple[BenchmarkJob, ...]

    @property
    def seconds(self) -> float | None:
        """The wall times of all jobs, added up."""
        return _sum(job.seconds for job in self.jobs)

    @property
    def cpu_seconds(self) -> float | None:
        """The CPU times of all jobs, added up."""
        return _sum(job.cpu_seconds for job in self.jobs)

    @property
    def memory_mb(self) -> float | None:
        """The peak memory of the job that took most."""
        return max((job.memory_mb for job in self.jobs if job.memory_mb is not None), default=None)

    def lacks(self, measure: str) -> bool:
        """Whether a measure of jobs is known of some of them, and not of all."""
        values = [getattr(job, measure) for job in self.jobs]
        return None in values and any(value is not None for value in values)

    @property
    def gpus(self) -> int:
        """The GPUs of the job that had most."""
        return max((job.gpus for job in self.jobs), default=0)

    @property
    def gpu_hours(self) -> float | None:
        """GPUs times hours, over all jobs; None where a job had GPUs and its time was not measured."""
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
    """The steps that made an adapter and its evaluation, in order; those without a benchmark have no jobs.

    `folder` is the adapter's own within the language's (`variants/x/`, or empty), `models` are those that were fetched,
    `adapters` those that were tuned, `pivots` the source languages that went through English.
    """
    if results is None:
        return []
    fetched = sorted(_within(results, models))
    of_kind = {kind: [path for path in fetched if path.split("/")[1] == kind] for kind in ("translation", "base")}
    patterns = {
        "fetch": ["source/messages"],
        "split": ["source/shards"],
        "fetch_translation_model": of_kind["translation"],
        "pivot": [f"pivot/{source}/*" for source in pivots],
        "translate": [f"{lang}/translated/*/*"],
        "combine": [f"{lang}/dataset"],
        "threads": [f"{lang}/threads/*"],
        "preferences": [f"{lang}/preferences/*"],
        "fetch_chat_template": [path.replace("/base/", "/templates/") for path in of_kind["base"]],
        "fetch_base_model": of_kind["base"],
        "tune": _within(results, adapters),
        "evaluate": [f"{lang}/{folder}evaluation"],
        "harness": [f"{lang}/{folder}harness"],
    }
    return [Step(name, tuple(_jobs(results, paths))) for name, paths in patterns.items()]


def total(steps: Iterable[Step]) -> Step:
    """All steps as one."""
    return Step("total", tuple(job for step in steps for job in step.jobs))


def _within(results: Path, paths: Iterable[Path]) -> list[str]:
    """Paths as they are below the results; those that are elsewhere are not of the run."""
    return [path.relative_to(results).as_posix() for path in paths if path.is_relative_to(results)]


def _jobs(results: Path, patterns: Iterable[str]) -> list[BenchmarkJob]:
    benchmarks = results / "benchmarks"
    # Only * is a pattern: a model's name may hold brackets.
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
    """How many GPUs a job had; none where its log does not say."""
    try:
        said = _GPUS.findall(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return 0
    return 0 if not said or said[-1].strip() == "none" else len(said[-1].split(","))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
