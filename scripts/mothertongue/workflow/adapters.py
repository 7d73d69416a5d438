"""The adapters of a configuration, and what each is made from: settings, data, models and options of the rule tune."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.settings import as_arguments
from mothertongue.dataset.settings import MixSettings
from mothertongue.models import references
from mothertongue.tuning.settings import DataSettings, TuningSettings
from mothertongue.workflow import configuration
from mothertongue.workflow.places import Places
from mothertongue.workflow.rule_helpers import SPLITS, Wildcards, given, in_one_line, model_folder, usable

Settings = Mapping[str, Any]
# The settings that an SFT adapter does not depend on.
_NOT_SFT = {"method", "dpo", "orpo", "gpus", "fsdp", "checkpoint_minutes", "report_to"}


class Adapters:
    """The language's own adapter, and those of the variants. Raises UserError where their settings are invalid."""

    def __init__(self, config: Mapping[str, Any], places: Places) -> None:
        self.config, self.places = config, places
        # By the adapter's folder: the language's own settings, and those of the variants, which override them.
        own = {**config["tuning"], "mix": config["mix"]}
        self.by_folder: dict[str, Settings] = {"": own} | {
            f"variants/{name}/": _with_own_shares(configuration.lay_over(own, settings), settings)
            for name, settings in config["variants"].items()
        }
        self.owners = [("tuning", settings["base_model"]) for settings in self.by_folder.values()]
        self._check()

    @property
    def base_models(self) -> dict[str, str]:
        """The base models, by the folder that each is fetched to."""
        return {references.parse(model).slug: model for _, model in self.owners}

    def of_variant(self, wildcards: Wildcards) -> Settings:
        """Return the settings of a variant. Raise UserError where it does not exist."""
        folder = wildcards.variant
        if folder not in self.by_folder:
            known = ", ".join(self.config["variants"]) or "none"
            raise UserError(f"variants: there is no variant '{Path(folder).name}'; the configuration has: {known}")
        return self.by_folder[folder]

    @in_one_line
    def settings(self, wildcards: Wildcards) -> Settings:
        """Return the settings of an adapter, with those that its method overrides."""
        settings = self.of_variant(wildcards)
        method = "sft" if wildcards.stage else settings["method"]
        return settings | settings.get(method, {}) | {"method": method}

    def gpus(self, wildcards: Wildcards) -> int:
        """Return the number of GPUs that an adapter is tuned on; 0 for the CPU."""
        return self.settings(wildcards)["gpus"]

    @in_one_line
    def one_gpu(self, wildcards: Wildcards) -> int:
        """Return 1 where the adapter is tuned on GPUs, else 0: jobs that use the adapter need one GPU."""
        return min(1, self.of_variant(wildcards)["gpus"])

    def memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Return the memory of tuning in MB: each GPU's process loads the whole base model."""
        return 24000 * max(1, self.gpus(wildcards)) * min(attempt, 2)

    def train_data(self, wildcards: Wildcards, split: str = "train") -> str:
        """Return the threads, mixed where that is configured, or the preferences that an adapter is tuned on."""
        if split == "train" and self._is_sft(wildcards):
            return self.sft_data(wildcards)
        kind = "threads" if self._is_sft(wildcards) else "preferences"
        return f"{wildcards.results}/{wildcards.lang}/{kind}/{split}.jsonl"

    def sft_data(self, wildcards: Wildcards) -> str:
        """Return the threads that a variant's SFT adapter is tuned on."""
        kind = f"{wildcards.variant}mix" if self.is_mixed(wildcards) else "threads"
        return f"{wildcards.results}/{wildcards.lang}/{kind}/train.jsonl"

    def mix_seen(self, wildcards: Wildcards) -> list[str]:
        """Return the mix that an adapter or the one before it was tuned on: its questions are no held-out prompts."""
        seen = self.is_mixed(wildcards) and self.settings(wildcards)["method"] != "orpo"
        return [self.sft_data(wildcards)] if seen else []

    def is_mixed(self, wildcards: Wildcards) -> bool:
        """Return whether the threads that an adapter is tuned on are a mix."""
        mix = self._variant(wildcards)["mix"]
        return bool(mix["shares"] or mix["replay"])

    def mix_account(self, wildcards: Wildcards) -> list[str]:
        """Return the account of the mix that an adapter is tuned on; empty where it is tuned on something else."""
        if not self._is_sft(wildcards) or not self.is_mixed(wildcards):
            return []
        return [str(Path(self.sft_data(wildcards)).with_suffix(".accounting.json"))]

    def mix_options(self, wildcards: Wildcards, prompts: Callable[[str], str]) -> list[str]:
        """Return the mix of a variant as arguments of scripts/mix.py; `prompts` gives a language's system prompt."""
        mix = self._variant(wildcards)["mix"]
        options = given("--share", [f"{name}={share:g}" for name, share in mix["shares"].items()])
        if mix["replay"]:
            languages = mix["replay"]["languages"]
            options += given("--replay", languages) + given("--replay-prompt", map(prompts, languages))
            options.append(f"--replay-share={mix['replay']['share']:g}")
        return options + as_arguments(MixSettings, mix)

    def validation_data(self, wildcards: Wildcards) -> list[str]:
        """Return the data of the validation loss; empty where it is not measured."""
        followed = self.settings(wildcards)["validation"]["interval"]
        return [self.train_data(wildcards, "validation")] if followed else []

    def preferences_seen(self, wildcards: Wildcards) -> list[str]:
        """Return the preferences that an adapter was tuned on: their questions cannot be held-out prompts."""
        return [] if self._is_sft(wildcards) else [self.train_data(wildcards)]

    def pairs(self, wildcards: Wildcards) -> list[str]:
        """Return the preferences of both splits; empty where the adapter is not tuned on them."""
        return [] if self._is_sft(wildcards) else self._both(wildcards, "preferences", "jsonl")

    def threads(self, wildcards: Wildcards) -> list[str]:
        """Return the threads of both splits; empty where no stage of the adapter is tuned on them."""
        orpo = self.settings(wildcards)["method"] == "orpo"
        return [] if orpo else self._both(wildcards, "threads", "jsonl")

    def accounts(self, wildcards: Wildcards) -> list[str]:
        """Return the accounting files beside `pairs` and `threads`."""
        used = [Path(path).parent.name for path in (*self.pairs(wildcards), *self.threads(wildcards))]
        return [path for data in dict.fromkeys(used) for path in self._both(wildcards, data, "accounting.json")]

    @staticmethod
    def _both(wildcards: Wildcards, data: str, kind: str) -> list[str]:
        return [f"{wildcards.results}/{wildcards.lang}/{data}/{split}.{kind}" for split in SPLITS]

    def before(self, wildcards: Wildcards) -> list[str]:
        """Return the SFT adapter that DPO continues from; empty for other methods."""
        if self.settings(wildcards)["method"] != "dpo":
            return []
        # A variant with the same SFT settings as the language's own adapter continues from that adapter.
        own, settings = self.by_folder[""], self.by_folder[wildcards.variant]
        same = own["method"] == "sft" and all(own[key] == settings[key] for key in own if key not in _NOT_SFT)
        folder = f"{wildcards.results}/{wildcards.lang}"
        return [f"{folder}/adapter" if same else f"{folder}/{wildcards.variant}sft/adapter"]

    def base_model(self, wildcards: Wildcards) -> str:
        """Return the folder that the base model of an adapter is fetched to."""
        return model_folder(self._variant(wildcards)["base_model"], "base").format(**wildcards)

    def template(self, wildcards: Wildcards) -> str:
        """Return the chat template that an adapter is tuned with."""
        return self.template_of(self._variant(wildcards)["base_model"], wildcards)

    def own_template(self, wildcards: Wildcards) -> str:
        """Return the chat template of the language's own adapter, in which threads are rendered."""
        return self.template_of(self.by_folder[""]["base_model"], wildcards)

    def template_of(self, base_model: str, wildcards: Wildcards) -> str:
        """Return the template that a model is tuned with: one of ours, the user's own, or the one fetched for it."""
        prompt_format = self.config["threads"]["prompt_format"]
        if prompt_format in ("auto", "tokenizer"):
            return model_folder(base_model, "templates").format(**wildcards)
        own = prompt_format.endswith(".jinja")
        return self.places.found(prompt_format if own else f"config/templates/{prompt_format}.jinja")

    def options(self, wildcards: Wildcards) -> list[str]:
        """Return the tuning settings as arguments of scripts/tune.py, which has defaults for those that are null."""
        values = self.settings(wildcards)
        options = as_arguments(TuningSettings, values) + as_arguments(DataSettings, values)
        return options + given("--beta", [values["beta"]] if "beta" in values else [])

    def machine_options(self, wildcards: Wildcards, results: str) -> list[str]:
        """Return the settings that do not change what is learned; `results` is the results folder on disk."""
        settings = self.settings(wildcards)
        options = [f"--checkpoint-minutes={settings['checkpoint_minutes']}"]
        options += [f"--fsdp={settings['fsdp']}"] if settings["fsdp"] else []
        if settings["report_to"] == "tensorboard":
            place = f"{wildcards.lang}/{wildcards.variant}{wildcards.stage}adapter.tensorboard"
            options.append(f"--tensorboard={results}/logs/{place}")
        return options

    @in_one_line
    def changed_settings(self, defaults: Mapping[str, Any]) -> str:
        """Return the settings that differ from the defaults, as JSON; those of tuning are in training.json."""
        settings = {**self.config, "tuning": {}, "variants": {}}
        return json.dumps(configuration.differences(settings, defaults), sort_keys=True)

    @in_one_line
    def _variant(self, wildcards: Wildcards) -> Settings:
        return self.of_variant(wildcards)

    def _is_sft(self, wildcards: Wildcards) -> bool:
        return self.settings(wildcards)["method"] == "sft"

    def _check(self) -> None:
        template = self.config["threads"]["prompt_format"]
        if template.endswith(".jinja") and not Path(template).is_file():
            raise UserError(f"threads.prompt_format: no such template: {template}")
        usable(template)
        for folder, settings in self.by_folder.items():
            shares, name = settings["mix"]["shares"], ".".join([*Path(folder).parts, "mix"])
            if shares and not math.isclose(sum(shares.values()), 1, abs_tol=0.001):
                raise UserError(f"{name}.shares: they are {sum(shares.values()):g} together, and must be 1")
        for variant, own in self.config["variants"].items():
            method = own.get("method", self.config["tuning"]["method"])
            if method == "orpo" and (unused := sorted(set(own) & set(self.config["tuning"]["orpo"]))):
                raise UserError(
                    f"variants.{variant}.{unused[0]} is not used in orpo; set variants.{variant}.orpo.{unused[0]}"
                )
        for folder, settings in self.by_folder.items():
            name, gpus = ".".join(Path(folder).parts) or "tuning", settings["gpus"]
            if settings["fsdp"] and not Path(settings["fsdp"]).is_file():
                raise UserError(f"{name}.fsdp: no such accelerate configuration: {settings['fsdp']}")
            if settings["fsdp"] and gpus < 2:
                raise UserError(f"{name}.fsdp shares a model out among several GPUs; set {name}.gpus, or fsdp to null")
            if gpus > 1 and not settings["target_tokens"] and settings["batch_size"] * settings["accumulation"] % gpus:
                raise UserError(
                    f"{name}: a step of batch_size x accumulation sequences cannot be shared out among {gpus} GPUs; "
                    f"make it a multiple of {gpus}"
                )
            if settings["validation"]["patience"] and not settings["validation"]["interval"]:
                raise UserError(f"{name}.validation.patience needs an interval; set {name}.validation.interval")


def _with_own_shares(settings: Settings, own: Settings) -> Settings:
    """Return a variant's settings with the shares that it names in the place of all others."""
    shares = own.get("mix", {}).get("shares")
    return settings if shares is None else {**settings, "mix": {**settings["mix"], "shares": shares}}
