"""The benchmarks of each language: tasks of the lm-evaluation-harness, how they were made, and their English partners.

From config/benchmarks.tsv and config/benchmark_tasks.tsv; a test holds them against the installed harness.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mothertongue.common.languages import ENGLISH
from mothertongue.common.tsv import Tables, read_table

# How a benchmark came to a language, the strongest evidence first: written in it, or translated by people or machines.
ORIGINS = {"native": "native", "human": "translated by people", "machine": "machine-translated"}
_MACHINE = "machine"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark in one language: the harness's `task`, and the same in English where there is one.

    `origin` is one of ORIGINS, `examples` their number where it is known, `licence` and `dataset` those of the data.
    """

    language: str
    task: str
    origin: str
    examples: int | None
    licence: str
    dataset: str
    asks: str
    english: str | None


def read(tables: Tables) -> list[Benchmark]:
    """Return the benchmarks of all languages from their tables, in their order, which is by origin."""
    kinds = {row["benchmark"]: row for row in read_table(tables("benchmarks.tsv"))}
    found = []
    for row in read_table(tables("benchmark_tasks.tsv")):
        kind = kinds[row["benchmark"]]
        found.append(
            Benchmark(
                row["language"],
                row["task"],
                kind["origin"],
                int(row["examples"]) if row["examples"] else None,
                kind["licence"],
                kind["dataset"],
                kind["asks"],
                kind["english"] or None,
            )
        )
    return found


def of_language(benchmarks: Iterable[Benchmark], lang: str) -> list[Benchmark]:
    """Return the benchmarks in a language, the strongest evidence first."""
    own = (benchmark for benchmark in benchmarks if benchmark.language == lang)
    return sorted(own, key=lambda benchmark: list(ORIGINS).index(benchmark.origin))


def chosen(benchmarks: Sequence[Benchmark], lang: str) -> list[Benchmark]:
    """Return a language's benchmarks and their English partners; machine-translated ones only where no others are."""
    own = of_language(benchmarks, lang)
    better = [benchmark for benchmark in own if benchmark.origin != _MACHINE] or own
    partners = {benchmark.english for benchmark in better}
    return better + [one for one in of_language(benchmarks, ENGLISH) if one.task in partners and lang != ENGLISH]
