"""The judge of a configuration: what it compares, its endpoint, and the votes of people beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.settings import as_arguments
from mothertongue.evaluation.judge_settings import JudgeSettings
from mothertongue.workflow.endpoints import Endpoint
from mothertongue.workflow.rule_helpers import Wildcards, given, in_one_line

_DECIDING = ("window", "body")


class Judging:
    """The judge of a configuration, if it has one. Raises UserError where its settings are invalid.

    `results` is the results folder on disk.
    """

    def __init__(self, config: Mapping[str, Any], results: str) -> None:
        self.judge, self.results = config["judge"], results
        keys = self.judge["endpoint"]
        self.endpoints = [Endpoint("judge", keys, _DECIDING)] if keys["model"] else []
        for endpoint in self.endpoints:
            # Nothing that is trained or published is made of what a judge writes.
            endpoint.check(allow_noncommercial=True)
        if unknown := [name for name in self.judge["against"] if name not in config["variants"]]:
            known = ", ".join(config["variants"]) or "none"
            raise UserError(f"judge.against: there is no variant '{unknown[0]}'; the configuration has: {known}")

    @property
    def environment(self) -> str:
        """The environment of a job that asks the judge."""
        return self.endpoints[0].environment if self.endpoints else "endpoint"

    @property
    def memory_mb(self) -> int:
        """The memory of a job in MB, with that of a server of its own."""
        return 8000 + sum(endpoint.memory_mb for endpoint in self.endpoints)

    def gpus(self, wildcards: Wildcards) -> int:
        """Return the GPUs of a job: those of a server of its own."""
        return sum(endpoint.gpus for endpoint in self.endpoints)

    @in_one_line
    def model(self, wildcards: Wildcards) -> str:
        """Return the folder of the judge's model, or of its record. End Snakemake where there is no judge."""
        if not self.endpoints:
            raise UserError("judge.endpoint.model is missing: what a server calls the model that is to judge")
        return self.endpoints[0].model.format(**wildcards)

    def others(self, wildcards: Wildcards) -> list[str]:
        """Return the answers of the variants that are compared with an adapter."""
        names = self._against(wildcards)
        return [f"{wildcards.results}/{wildcards.lang}/variants/{name}/evaluation/samples.jsonl" for name in names]

    def against(self, wildcards: Wildcards, input: Any) -> list[str]:
        """Return the answers of the variants as arguments of scripts/judge.py."""
        named = zip(self._against(wildcards), input.others, strict=True)
        return given("--against", [f"{name}={path}" for name, path in named])

    def votes(self, wildcards: Wildcards) -> list[str]:
        """Return the votes of people on an adapter; empty where there are none."""
        path = f"{self.results}/{wildcards.lang}/{wildcards.variant}{wildcards.stage}votes.jsonl"
        return [path] if Path(path).is_file() else []

    def adapter(self, wildcards: Wildcards) -> list[str]:
        """Return the adapter that votes are about; empty where there are none."""
        folder = f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}{wildcards.stage}adapter"
        return [folder] if self.votes(wildcards) else []

    def options(self, wildcards: Wildcards) -> list[str]:
        """Return the settings that decide what is asked, as arguments of scripts/judge.py."""
        deciding = [option for endpoint in self.endpoints for option in endpoint.deciding_options]
        return as_arguments(JudgeSettings, self.judge) + deciding

    def endpoint(self, wildcards: Wildcards) -> list[str]:
        """Return the options of a job's endpoint that change no result; see `Endpoint.job_options`."""
        output = f"{wildcards.lang}/{wildcards.variant}{wildcards.stage}judge"
        name = output.replace("/", "-")
        return [option for one in self.endpoints for option in one.job_options(self.results, name, output)]

    def secrets(self, wildcards: Wildcards) -> str:
        """Return what stands before a job's command to hand over the endpoint's key; see rules/common.smk."""
        return " ".join(endpoint.secrets for endpoint in self.endpoints)

    def judged(self, wildcards: Wildcards) -> list[str]:
        """Return the judge's table of an evaluation, for the report; empty where no judge is configured."""
        folder = f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}{wildcards.stage}evaluation"
        return [f"{folder}/judge.json"] if self.endpoints else []

    def _against(self, wildcards: Wildcards) -> list[str]:
        """Return the names of the variants that an adapter is compared with: all but itself."""
        own = f"{wildcards.variant}{wildcards.stage}"
        return [name for name in self.judge["against"] if own != f"variants/{name}/"]
