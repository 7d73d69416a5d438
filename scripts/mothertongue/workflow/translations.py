"""The translation of the messages of each language: engines, models and options of the rules pivot and translate."""

from collections.abc import Callable, Mapping
from typing import Any

from mothertongue.common import licences
from mothertongue.common.errors import UserError
from mothertongue.common.languages import ENGLISH
from mothertongue.common.settings import as_arguments
from mothertongue.models import references
from mothertongue.translation import engines, estimators, routes
from mothertongue.translation.engines.base import LanguagePairs
from mothertongue.translation.estimators.base import Estimator
from mothertongue.translation.settings import EngineSettings, QualityLimits
from mothertongue.workflow.endpoints import Endpoint
from mothertongue.workflow.places import Places
from mothertongue.workflow.rule_helpers import CHANGE_NO_RESULT, Wildcards, given, model_folder

# The environments that translate, the smallest first: each runs the engines of those before it, too.
_ENVIRONMENTS = ("translation", "endpoint", "generation", "vllm")
# The keys of an endpoint that decide what is translated.
_DECIDING = ("window", "body")


class Translations:
    """The routes and engines of a configuration. Raises UserError where its `translation` is invalid."""

    def __init__(self, config: Mapping[str, Any], places: Places) -> None:
        self.translation, self.quality, self.places = config["translation"], config["quality"], places
        settings = routes.engine_settings(self.translation)
        self.engines: list[str] = [one["engine"] for one in settings]
        self.pairs: list[LanguagePairs] = [routes.translation_pairs(one, places.table) for one in settings]
        # The unique pairs of engine and model; `models` has them by the folder that the model is fetched to.
        self.owners = list(
            dict.fromkeys(
                (engine, pair.model)
                for engine, pairs in zip(self.engines, self.pairs, strict=True)
                for pair in pairs.values()
                if engine != routes.ENDPOINT
            )
        )
        self.both = bool(self.translation["engines"])
        self.only_users = config["answers"] == "teacher" and not config["teacher"]["preferences"]
        named = routes.ENDPOINT in self.engines
        self.endpoints = [Endpoint("translation", self.translation["endpoint"], _DECIDING)] if named else []
        self._check()
        self.models = {references.parse(model).slug: (engine, model) for engine, model in self.owners}
        self.one_step = engines.find(self.engines[0]).ROUTE
        self.memory_mb = 3000 + 2 * sum(engines.find(engine).MODEL_MB for engine in self.engines)
        self.memory_mb += sum(endpoint.memory_mb for endpoint in self.endpoints)
        needed = [engines.find(engine).ENVIRONMENT for engine in self.engines]
        needed += [endpoint.environment for endpoint in self.endpoints]
        if estimator := self._estimator():
            self.memory_mb += estimator.MEMORY_MB
            needed += [estimator.ENVIRONMENT] if estimator.ENVIRONMENT else []
        self.environment = max(needed, key=_ENVIRONMENTS.index)
        self.estimator_models = {references.parse(model).slug: model for model in self._estimator_model()}

    def _check(self) -> None:
        for endpoint in self.endpoints:
            endpoint.check(self.translation["allow_noncommercial"])
            pairs = self.pairs[self.engines.index(routes.ENDPOINT)]
            if any(pair.model != endpoint.keys["model"] for pair in pairs.values()):
                raise UserError("translation.models: the endpoint engine has one model, translation.endpoint.model")
        if self.translation["device"] == "cuda" and not any(engines.find(engine).ON_GPU for engine in self.engines):
            raise UserError(
                f"translation.device is cuda, and the {self.engines[0]} engine runs on CPUs only; set it to auto"
            )
        if self.both and not self.quality["meaning"]:
            raise UserError("translation.engines chooses by quality.meaning, which is null; set it, or use a fallback")
        estimator = self._estimator()
        if self.quality["meaning_model"] and not (estimator and estimator.MODEL):
            raise UserError("quality.meaning_model is the model of quality.meaning: labse; set that, or remove it")
        if estimator and estimator.THRESHOLD is None and self.quality["meaning_threshold"] is None:
            raise UserError(estimators.no_threshold(self.quality["meaning"]))
        if not self.translation["allow_noncommercial"]:
            for pair in (pair for pairs in self.pairs for pair in pairs.values()):
                licences.check(pair.licence, pair.model)

    def route(self, wildcards: Wildcards) -> routes.Route:
        """Return the route of a source language's messages to the target language."""
        return routes.find_route(wildcards.source, wildcards.lang, self.pairs[0], self.one_step)

    def languages_between(self, wildcards: Wildcards) -> tuple[str, str]:
        """Return the languages that a job of pivot or translate translates from and to."""
        if not hasattr(wildcards, "lang"):
            return wildcards.source, ENGLISH
        return ENGLISH if self.route(wildcards).kind == "pivot" else wildcards.source, wildcards.lang

    def engines_of(self, wildcards: Wildcards) -> list[str]:
        """Return the engines that translate a shard; empty where it is native or has no route."""
        pair = self.languages_between(wildcards)
        if pair not in self.pairs[0]:
            return []
        return [engine for engine, pairs in zip(self.engines, self.pairs, strict=True) if pair in pairs]

    def library(self, script: str) -> Callable[[Wildcards], list[str]]:
        """Return the modules that translate a shard: engines of other shards do not make it stale."""

        def modules(wildcards: Wildcards) -> list[str]:
            names = self.engines_of(wildcards)
            more = [module for engine in names for module in engines.modules(engine)]
            more += [estimators.module(self.quality["meaning"])] if names and self.quality["meaning"] else []
            return self.places.library(script, *more, without=CHANGE_NO_RESULT)

        return modules

    def model(self, wildcards: Wildcards) -> list[str]:
        """Return the model's folder; empty for native messages and those without a route."""
        return self._folder(0, wildcards)

    def fallback(self, wildcards: Wildcards) -> list[str]:
        """Return the model folder of the second engine; empty where there is none."""
        return self._folder(1, wildcards) if len(self.engines) > 1 and self.model(wildcards) else []

    def estimator(self, wildcards: Wildcards) -> list[str]:
        """Return the model folder of the estimator of meaning; empty where it needs none, or nothing is translated."""
        estimator = self._estimator()
        judges = estimator and estimator.LANGUAGES.issuperset(self.languages_between(wildcards))
        models = self._estimator_model() if judges and self.engines_of(wildcards) else []
        return [model_folder(model, "meaning").format(**wildcards) for model in models]

    def options(self, wildcards: Wildcards) -> list[str]:
        """Return engines and checks as arguments of scripts/pivot.py and translate.py; empty without a model.

        It takes no `input`: Snakemake does not compare params that do, and would keep stale results.
        """
        options: list[str] = []
        pair = self.languages_between(wildcards)
        for prefix, engine, pairs in zip(("", "fallback-"), self.engines, self.pairs, strict=False):
            if pair in pairs and pair in self.pairs[0]:
                found = pairs[pair]
                values = {"engine": engine, "source-code": found.source_code, "target-code": found.target_code}
                options += [f"--{prefix}{name}={value}" for name, value in values.items() if value]
        if not options:
            return []
        if engines.find(self.engines[0]).ROUTE == "multilingual":
            options += given("--other-code", self._others(wildcards))
        options += ["--only-users"] if self.only_users else []
        options += ["--keep-better"] if self.both and len(self.engines_of(wildcards)) > 1 else []
        unused = {} if "llm" in self.engines else {"prompt": None}
        unused |= {} if routes.ENDPOINT in self.engines else {"instructions": None}
        values = self.translation | unused
        for endpoint in self.endpoints:
            options += endpoint.deciding_options
        quality = self.quality | {"meaning_model": None}
        return options + as_arguments(EngineSettings, values) + as_arguments(QualityLimits, quality)

    def roles(self, wildcards: Wildcards) -> list[str]:
        """Return the models of a shard by their roles where two have the same engine; else empty.

        Snakemake compares inputs as paths without names, and the options name engines only: without this, the result
        of two models that are swapped would be taken for up to date.
        """
        names = self.engines_of(wildcards)
        pair = self.languages_between(wildcards)
        models = [pairs[pair].model for pairs in self.pairs if names and pair in pairs]
        return models if len(set(names)) < len(names) else []

    @staticmethod
    def model_options(wildcards: Wildcards, input: Any) -> list[str]:
        """Return the models as arguments of scripts/pivot.py and translate.py; see `roles`."""
        names = {"model": "--model", "fallback": "--fallback-model", "estimator": "--meaning-model"}
        return [argument for name, option in names.items() for argument in given(option, getattr(input, name))]

    def memory(self, wildcards: Wildcards, results: str, name: str) -> list[str]:
        """Return the option of a job's translation memory, which is read by all; empty where it has none, or no model.

        `results` is the results folder on disk. The rules call it with `input`, so that Snakemake does not compare it:
        the memory changes no result.
        """
        wanted = self.translation["memory"] and self.engines_of(wildcards)
        name = f"{wildcards.origin.replace('/', '-')}{name}".format(**wildcards)
        return given("--memory", [f"{results}/memory/{name}.parquet"]) if wanted else []

    def endpoint(self, wildcards: Wildcards, results: str, name: str, output: str) -> list[str]:
        """Return the options of a job's endpoint that change no result; see `Endpoint.job_options`. Empty for none."""
        name = f"{wildcards.origin.replace('/', '-')}{name}"
        return [
            option
            for endpoint in self._endpoints_of(wildcards)
            for option in endpoint.job_options(results, name.format(**wildcards), output.format(**wildcards))
        ]

    def secrets(self, wildcards: Wildcards) -> str:
        """Return what stands before a job's command to hand over the endpoint's key; see rules/common.smk."""
        return " ".join(endpoint.secrets for endpoint in self._endpoints_of(wildcards))

    def _endpoints_of(self, wildcards: Wildcards) -> list[Endpoint]:
        """Return the endpoint that translates a shard; empty where none does."""
        return self.endpoints if routes.ENDPOINT in self.engines_of(wildcards) else []

    def gpus(self, wildcards: Wildcards, grouped: bool) -> int:
        """Return 1 where a model that can use a GPU translates, unless the configuration requires the CPU; else 0.

        A server that the job starts may need several.

        A group cannot contain jobs with and without GPU: where shards are `grouped`, all request the same.
        """
        names = self.engines if grouped else self.engines_of(wildcards)
        on_gpu = any(engines.find(engine).ON_GPU for engine in names) and self.translation["device"] != "cpu"
        served = [endpoint.gpus for endpoint in self.endpoints] if routes.ENDPOINT in names else []
        return max([int(on_gpu), *served])

    def model_mb(self, wildcards: Wildcards) -> int:
        """Return the disk space of a translation model in MB: the usual size of its engine's models."""
        return engines.find(self.models[wildcards.model][0]).MODEL_MB

    def models_into(self, wildcards: Wildcards, sources: list[str]) -> list[str]:
        """Return the folders of all models that translate into a language, including those of pivots into English."""
        models: list[str] = []
        for source in sources:
            kind = routes.find_route(source, wildcards.lang, self.pairs[0], self.one_step).kind
            pivot = kind == "pivot"
            steps = [(source, ENGLISH), (ENGLISH, wildcards.lang)] if pivot else [(source, wildcards.lang)]
            for step in (step for step in steps if step in self.pairs[0]):
                models += [
                    self._folder_of(engine, pairs[step].model)
                    for engine, pairs in zip(self.engines, self.pairs, strict=True)
                    if step in pairs
                ]
        return [model.format(**wildcards) for model in dict.fromkeys(models)]

    def _estimator(self) -> type[Estimator] | None:
        return estimators.find(self.quality["meaning"]) if self.quality["meaning"] else None

    def _estimator_model(self) -> list[str]:
        """Return the reference of the estimator's model; empty where there is none."""
        estimator = self._estimator()
        return [self.quality["meaning_model"] or estimator.MODEL] if estimator and estimator.MODEL else []

    def _others(self, wildcards: Wildcards) -> list[str]:
        """Return LANG=CODE of each language that the first engine's model could translate a shard's sentences from."""
        own, target = self.languages_between(wildcards)
        here = self.pairs[0][own, target]
        others = {
            source: pair.source_code
            for (source, into), pair in self.pairs[0].items()
            if into == target and source != own and pair.model == here.model
        }
        return [f"{lang}={code}" for lang, code in sorted(others.items())]

    def _folder(self, number: int, wildcards: Wildcards) -> list[str]:
        pair = self.pairs[number].get(self.languages_between(wildcards))
        return [self._folder_of(self.engines[number], pair.model).format(**wildcards)] if pair else []

    def _folder_of(self, engine: str, model: str) -> str:
        """Return the folder of an engine's model, with the wildcard of the results folder."""
        return self.endpoints[0].model if engine == routes.ENDPOINT else model_folder(model, "translation")
