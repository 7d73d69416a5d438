"""What a dry run of Snakemake prints, and what it does not tell of the rules, read from the workflow's own files."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_DATE = re.compile(r"^\s*\[[^]]+\]$")
_RULE = re.compile(r"^\s*(?:local)?(?:rule|checkpoint) (\w+):$")
# What the wildcards look like that are no single name.
_WILDCARDS = {"results": ".+", "variant": "(?:variants/[^/]+/)?", "stage": "(?:sft/)?"}
_FIELD = re.compile(r"^\s+(input|output|wildcards|threads|resources): (.*)$")


@dataclass(frozen=True)
class Rule:
    """What a dry run does not tell of a rule: whether it never goes to the cluster, and where its benchmarks are."""

    local: bool
    benchmark: re.Pattern[str] | None


@dataclass(frozen=True)
class Job:
    """A job of the dry run with what it declares; `minutes` is its time limit."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    wildcards: Mapping[str, str]
    threads: int
    memory_mb: int
    gpus: int
    minutes: int
    disk_mb: int


def read_rules(files: Iterable[Path]) -> dict[str, Rule]:
    """What the workflow's files say of each rule."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    rules = {}
    for name, body in re.findall(r"^(?:rule|checkpoint) (\w+):\n((?:[ \t]+.*\n|\n)*)", text, re.MULTILINE):
        benchmark = re.search(r"^    benchmark:\s+\"(.+)\"", body, re.MULTILINE)
        rules[name] = Rule(
            local=re.search(r"^    localrule:\s+True", body, re.MULTILINE) is not None,
            benchmark=_pattern(benchmark[1]) if benchmark else None,
        )
    return rules


def parse_jobs(text: str) -> list[Job]:
    """The jobs that a dry run prints."""
    jobs: list[tuple[str, dict[str, str]]] = []
    fields: dict[str, str] | None = None
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        # A date stands before each job, which the user's own text within a shell command has not.
        if _DATE.match(before) and (match := _RULE.match(line)):
            fields = {}
            jobs.append((match[1], fields))
        elif line.strip().startswith("Shell command:"):
            fields = None
        elif fields is not None and (match := _FIELD.match(line)):
            fields[match[1]] = match[2]
    return [_job(rule, fields) for rule, fields in jobs]


def complaint(output: str, errors: str) -> str:
    """Why a dry run failed: the error that the workflow or Snakemake says in a line, or the last one of all."""
    said = [line.strip() for line in errors.splitlines() if line.strip()]
    for line in said:
        if match := re.match(r"error: +(.+)", line, re.IGNORECASE):
            return match[1]
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "Building DAG of jobs..." in lines:
        reason = lines[lines.index("Building DAG of jobs...") + 1 :]
        if reason:
            return " ".join(reason)[:500]
    return (said or lines or ["no reason was given"])[-1]


def _pattern(benchmark: str) -> re.Pattern[str]:
    """What the paths of a rule's benchmarks look like, with its wildcards as groups."""
    parts = re.split(r"{(\w+)}", benchmark)
    groups = [
        f"(?P<{part}>{_WILDCARDS.get(part, '[^/]+')})" if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    ]
    return re.compile("".join(groups))


def _job(rule: str, fields: Mapping[str, str]) -> Job:
    resources = _pairs(fields.get("resources", ""))
    amounts = {name: int(value) for name, value in resources.items() if re.fullmatch(r"\d+", value)}
    return Job(
        rule=rule,
        inputs=tuple(fields.get("input", "").split(", ")),
        outputs=tuple(fields.get("output", "").split(", ")),
        wildcards=_pairs(fields.get("wildcards", "")),
        threads=int(fields.get("threads", 1)),
        memory_mb=amounts.get("mem_mb", 0),
        gpus=amounts.get("gpu", 0),
        minutes=amounts.get("runtime", 0),
        disk_mb=amounts.get("disk_mb", 0),
    )


def _pairs(text: str) -> dict[str, str]:
    """`a=1, b=2` by name; a value may hold a comma."""
    return dict(part.split("=", 1) for part in re.split(r", (?=\w+=)", text) if "=" in part)
