"""The jobs that a dry run of Snakemake prints, and facts on rules that it omits, from the workflow's own files."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mothertongue.workflow import snakemake_internals as printed

# The patterns of the wildcards that may contain slashes.
_WILDCARDS = {"results": ".+", "origin": "(?:[^/]+/)?", "variant": "(?:variants/[^/]+/)?", "stage": "(?:sft/)?"}
# The beginnings of errors of the workflow, and of Snakemake itself.
_OWN_ERROR = re.compile(r"error: +(.+)", re.IGNORECASE)
_EXCEPTION = re.compile(r"\w+(?:Error|Exception)\b")


@dataclass(frozen=True)
class Rule:
    """The facts on a rule that a dry run omits: whether it is a local rule, its benchmarks' paths, its environment.

    `environment` is the name of its file of envs/; empty where the engines of translation decide.
    """

    local: bool
    benchmark: re.Pattern[str] | None
    environment: str = ""


@dataclass(frozen=True)
class PlannedJob:
    """A job of the dry run with its declared resources; `minutes` is its time limit."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    wildcards: Mapping[str, str]
    threads: int
    memory_mb: int
    gpus: int
    minutes: int
    disk_mb: int
    gpu_model: str = ""


def read_rules(files: Iterable[Path], fetch_here: bool = True) -> dict[str, Rule]:
    """Return the rules in the workflow's files, by name; `fetch_here` as in the rules."""
    local = "True|FETCH_HERE" if fetch_here else "True"
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    rules = {}
    for name, body in re.findall(r"^(?:rule|checkpoint) (\w+):\n((?:[ \t]+.*\n|\n)*)", text, re.MULTILINE):
        environment = re.search(r"^    conda:\s+\"\.\./envs/(\w+)\.yaml\"", body, re.MULTILINE)
        benchmark = re.search(r"^    benchmark:\s+\"(.+)\"", body, re.MULTILINE)
        rules[name] = Rule(
            local=re.search(rf"^    localrule:\s+(?:{local})$", body, re.MULTILINE) is not None,
            benchmark=_pattern(benchmark[1]) if benchmark else None,
            environment=environment[1] if environment else "",
        )
    return rules


def parse_jobs(text: str) -> list[PlannedJob]:
    """Return the jobs that a dry run printed."""
    jobs: list[tuple[str, dict[str, str]]] = []
    fields: dict[str, str] | None = None
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        # Snakemake prints a date before each job; similar text of the user in a shell command has none.
        if printed.DATE.match(before) and (match := printed.RULE.match(line)):
            fields = {}
            jobs.append((match[1], fields))
        elif line.strip().startswith(printed.COMMAND):
            fields = None
        elif fields is not None and (match := printed.FIELD.match(line)):
            fields[match[1]] = match[2]
    return [_job(rule, fields) for rule, fields in jobs]


def complaint(output: str, errors: str) -> str:
    """Return why a dry run failed, in one line: the error of the workflow or Snakemake, or the last line of all."""
    said = printed.error_lines(errors)
    for line in said:
        if match := _OWN_ERROR.match(line):
            return match[1]
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if printed.GRAPH in lines and (reason := lines[lines.index(printed.GRAPH) + 1 :]):
        return " ".join(reason)[:500]
    if said:
        return said[-1]
    exceptions = [at for at, line in enumerate(lines) if _EXCEPTION.match(line)]
    return " ".join(lines[exceptions[-1] :])[:500] if exceptions else (lines or ["no reason was given"])[-1]


def _pattern(benchmark: str) -> re.Pattern[str]:
    """Return the pattern of a rule's benchmark paths, with its wildcards as groups."""
    parts = re.split(r"{(\w+)}", benchmark)
    groups = [
        f"(?P<{part}>{_WILDCARDS.get(part, '[^/]+')})" if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    ]
    return re.compile("".join(groups))


def _job(rule: str, fields: Mapping[str, str]) -> PlannedJob:
    resources = _pairs(fields.get("resources", ""))
    amounts = {name: int(value) for name, value in resources.items() if re.fullmatch(r"\d+", value)}
    return PlannedJob(
        rule=rule,
        inputs=tuple(fields.get("input", "").split(", ")),
        outputs=tuple(fields.get("output", "").split(", ")),
        wildcards=_pairs(fields.get("wildcards", "")),
        threads=int(fields.get("threads", 1)),
        memory_mb=amounts.get("mem_mb", 0),
        gpus=amounts.get("gpu", 0),
        minutes=amounts.get("runtime", 0),
        disk_mb=amounts.get("disk_mb", 0),
        gpu_model=resources.get("gpu_model", ""),
    )


def _pairs(text: str) -> dict[str, str]:
    """Return `a=1, b=2` by name; a value may contain a comma."""
    return dict(part.split("=", 1) for part in re.split(r", (?=\w+=)", text) if "=" in part)
