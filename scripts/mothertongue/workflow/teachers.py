"""The teacher of a configuration: the model on a server that answers what users wrote, where `answers` is teacher."""

from collections.abc import Mapping
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.settings import as_arguments
from mothertongue.teaching.settings import TeacherSettings
from mothertongue.translation.settings import QualityLimits
from mothertongue.workflow.endpoints import Endpoint
from mothertongue.workflow.rule_helpers import Wildcards, given
from mothertongue.workflow.sources import Sources
from mothertongue.workflow.translations import Translations

TEACHER = "teacher"
# The keys of an endpoint that decide what is answered, and those of `quality` that check an answer.
_DECIDING, _CHECKS = ("window", "body"), ("repeats", "compression", "language_confidence")
# Tokens of the window that a conversation needs besides the answer.
_LEAST_READ = 1024


class Teacher:
    """The endpoint of the teacher, and its options. Raises UserError where the configuration is invalid.

    Without a teacher it has no endpoints, and the dataset is made of the translated shards.
    """

    def __init__(self, config: Mapping[str, Any], sources: Sources, translations: Translations) -> None:
        self.answers = config["answers"] == TEACHER
        # Whether its answers are compared with the translated replies.
        self.prefers = self.answers and config["teacher"]["preferences"]
        self._sources = sources
        self._keys, self._quality, self._translations = config["teacher"], config["quality"], translations
        endpoint = Endpoint(TEACHER, self._keys["endpoint"], _DECIDING)
        self.endpoints = [endpoint] if self.answers else []
        if self.answers:
            sources.check_taught()
            endpoint.check(config["translation"]["allow_noncommercial"])
            room = endpoint.keys["window"] - self._keys["max_tokens"]
            if room < _LEAST_READ:
                raise UserError(
                    f"teacher.max_tokens leaves {max(0, room):,} tokens of teacher.endpoint.window for the "
                    f"conversation, which needs {_LEAST_READ:,}; lower teacher.max_tokens"
                )

    @property
    def folder(self) -> str:
        """The folder of the shards that the dataset is made of, below a language's."""
        return "answered" if self.answers else "translated"

    @property
    def models(self) -> list[str]:
        """The folder with the record of the model, with the wildcard of the results folder; empty without a teacher."""
        return [endpoint.model for endpoint in self.endpoints]

    @property
    def memory_mb(self) -> int:
        """The memory of a job in MB."""
        return 3000 + sum(endpoint.memory_mb for endpoint in self.endpoints)

    @property
    def environment(self) -> str:
        """The environment of a job."""
        return next((endpoint.environment for endpoint in self.endpoints), "endpoint")

    def gpus(self, wildcards: Wildcards) -> int:
        """Return the GPUs of a shard's job, which may start a server of its own."""
        return sum(endpoint.gpus for endpoint in self._endpoints_of(wildcards))

    def threads(self, wildcards: Wildcards) -> int:
        """Return the threads of a shard's job: more than one for a server of its own."""
        return 4 if any(endpoint.keys["serve"] for endpoint in self._endpoints_of(wildcards)) else 1

    def check_preferences(self) -> None:
        """Raise UserError where there are no replies that preferences could compare."""
        if self.answers and not self.prefers:
            raise UserError(
                "answers: teacher has one reply to each question, and preferences compare two; set teacher.preferences "
                "to true, and its answers are compared with the translated replies"
            )
        if not self.answers:
            self._sources.check_scope()

    def model(self, wildcards: Wildcards) -> list[str]:
        """Return the model's folder for a shard; empty where nothing waits for it."""
        return [endpoint.model.format(**wildcards) for endpoint in self._endpoints_of(wildcards)]

    def options(self, wildcards: Wildcards) -> list[str]:
        """Return what decides the answers of a shard as arguments of scripts/answer.py, which Snakemake compares."""
        limits = {name: self._quality[name] for name in _CHECKS}
        return [
            argument
            for endpoint in self._endpoints_of(wildcards)
            for argument in (
                *as_arguments(TeacherSettings, self._keys),
                *as_arguments(QualityLimits, limits),
                *endpoint.deciding_options,
                *(["--replace-translations"] if self.prefers else []),
            )
        ]

    @staticmethod
    def model_options(wildcards: Wildcards, input: Any) -> list[str]:
        """Return the model as an argument; as an input Snakemake compares it."""
        return given("--model", input.model)

    def endpoint(self, wildcards: Wildcards, results: str) -> list[str]:
        """Return the options of a job that change no result; see `Endpoint.job_options`."""
        name = f"{wildcards.origin.replace('/', '-')}{{source}}-{{lang}}-{{shard}}".format(**wildcards)
        output = "{lang}/answered/{origin}{source}/{shard}".format(**wildcards)
        return [
            option
            for endpoint in self._endpoints_of(wildcards)
            for option in endpoint.job_options(results, name, output)
        ]

    def secrets(self, wildcards: Wildcards) -> str:
        """Return what stands before a job's command to hand over the endpoint's key; see rules/common.smk."""
        return " ".join(endpoint.secrets for endpoint in self._endpoints_of(wildcards))

    def _endpoints_of(self, wildcards: Wildcards) -> list[Endpoint]:
        """Return the endpoint that answers in a shard; empty for a native one, and where nothing translates."""
        return self.endpoints if self._translations.engines_of(wildcards) else []
