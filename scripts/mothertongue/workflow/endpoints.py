"""The endpoints of a configuration: each is the key `endpoint` of a group, such as `translation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.common import licences
from mothertongue.common.benchmarks import RECORD_OF_ENDPOINT
from mothertongue.common.errors import UserError
from mothertongue.common.settings import as_arguments
from mothertongue.endpoints.budget import check_prices
from mothertongue.endpoints.protocol import check_url, parse_body
from mothertongue.endpoints.settings import EndpointModel, EndpointSettings, ServedModel
from mothertongue.models import references


@dataclass(frozen=True)
class Endpoint:
    """The endpoint of a group. `deciding` are its keys that decide what is answered; the others change no result."""

    group: str
    keys: Mapping[str, Any]
    deciding: tuple[str, ...] = ("body",)

    def check(self, allow_noncommercial: bool) -> None:
        """Raise UserError where a key is missing or wrong."""
        if not self.keys["model"]:
            raise UserError(f"{self.group}.endpoint.model is missing: what the server calls the model")
        if self.keys["serve"] and self.keys["url"]:
            raise UserError(f"{self.group}.endpoint: url and serve both name a server; remove one")
        if self.keys["serve"]:
            references.parse(self.keys["model"])
        try:
            if not self.keys["serve"]:
                check_url(self.keys["url"], self.keys["allow_http"])
            check_prices(self.keys)
            parse_body(self.keys["body"])
        except UserError as error:
            # It begins with the key within the group.
            raise UserError(f"{self.group}.{error}") from None
        if self.keys["licence"] and not allow_noncommercial:
            licences.check(self.keys["licence"], self.keys["model"])

    @property
    def model(self) -> str:
        """The folder of the model, or with the record of a server's, with the wildcard of the results folder."""
        return f"{{results}}/models/{f'served/{self.slug}' if self.keys['serve'] else f'endpoints/{self.group}'}"

    @property
    def slug(self) -> str:
        """The name of the folder of a model that is served: another for each choice of its files."""
        chosen = "".join(f"@{value}" for value in (self.keys["serve"], self.keys["serve_file"]) if value)
        return references.Reference(f"{references.parse(self.keys['model']).slug}{chosen}", "").slug

    @property
    def model_options(self) -> list[str]:
        """The model as arguments of scripts/describe_endpoint.py."""
        return as_arguments(EndpointModel, {"endpoint": self.keys})

    @property
    def served_options(self) -> list[str]:
        """A model that is served, and its files, as arguments of scripts/fetch_served_model.py."""
        named = {"model": self.keys["model"], "serve": self.keys["serve"], "licence": self.keys["licence"]}
        options = [f"--{name}={value}" for name, value in named.items() if value]
        return [*options, *as_arguments(ServedModel, {"endpoint": self.keys})]

    @property
    def gpus(self) -> int:
        """The GPUs of a job that starts a server of its own."""
        return self.keys["serve_gpus"] if self.keys["serve"] == "vllm" else 0

    @property
    def memory_mb(self) -> int:
        """The memory of a job's own server in MB: llama.cpp's has the model in it, vLLM's reads it through."""
        return {None: 0, "llama_cpp": 12_000, "vllm": 24_000}[self.keys["serve"]]

    @property
    def environment(self) -> str:
        """The environment of a job that asks it."""
        return "vllm" if self.keys["serve"] == "vllm" and not self.keys["serve_program"] else "endpoint"

    @property
    def deciding_options(self) -> list[str]:
        """The keys that decide what is answered, as arguments: Snakemake compares them."""
        return self._arguments({name: self.keys[name] for name in self.deciding})

    def job_options(self, results: str, name: str, output: str) -> list[str]:
        """Return the other keys as arguments, and a job's files for its answers and costs.

        `results` is the results folder on disk, `name` the job's among the answers, `output` its output below the
        results folder, without suffix. A rule calls it by a function that takes `input`, so that Snakemake does not
        compare it: where the server is, and what it may cost, changes no result.
        """
        others = self._arguments({**self.keys, **dict.fromkeys(self.deciding)})
        answers = f"{results}/memory/endpoint/{self.group}/{name}.jsonl"
        return [*others, f"--answers={answers}", f"--usage={results}/benchmarks/{output}{RECORD_OF_ENDPOINT}"]

    @property
    def secrets(self) -> str:
        """What stands before a job's command to hand over the key; see rules/common.smk."""
        return f'{self.key_variable}="$key_{self.key_variable}"'

    @property
    def key_variable(self) -> str:
        """The environment variable that has the key."""
        return self.keys["key_variable"]

    @staticmethod
    def _arguments(keys: Mapping[str, Any]) -> list[str]:
        return as_arguments(EndpointSettings, {"endpoint": keys})
