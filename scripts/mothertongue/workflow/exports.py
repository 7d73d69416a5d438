"""The exports of adapters, and the inputs and options of their rules."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

from mothertongue.common.errors import UserError
from mothertongue.models import references
from mothertongue.workflow.adapters import Adapters
from mothertongue.workflow.rule_helpers import SPLITS, Wildcards, given, in_one_line
from mothertongue.workflow.settings import Packed, Quantization

QUANTIZATIONS = [name for name in get_args(Quantization) if name != "f16"]
PACKED = list(get_args(Packed))
# The outputs of rules in export/ and in its folders.
_MADE = {
    "": [
        *("merged", *PACKED, "adapter.gguf", "axolotl.yaml", "unsloth_train.py", "dataset_info.json"),
        *("llama_factory", "axolotl_dpo", "README.md"),
    ],
    "base/": ["f16.gguf", *(f"{name}.gguf" for name in QUANTIZATIONS)],
    "gguf/": ["f16.gguf", *(f"{name}.gguf" for name in QUANTIZATIONS), "Modelfile"],
    "threads/": [f"{split}.jsonl" for split in SPLITS],
    "perplexity/": ["models.json", "tokens.jsonl", *(f"{form}.json" for form in ("f16", *QUANTIZATIONS, *PACKED))],
    "conversion/": ["gguf/f16.json", "base/f16.json", "adapter.json"],
    "shapes/": [f"{form}.json" for form in (*QUANTIZATIONS, *PACKED)],
}
# A regular expression for all paths below export/ that rules make.
PATHS = "|".join(re.escape(folder + name) for folder, names in _MADE.items() for name in names)
# The base model in GGUF that an adapter alone is laid over.
_BASE = "base/f16"
# The settings that other trainers do not use.
_UNUSED = {"base_model", "dpo", "orpo", "fsdp", "checkpoint_minutes", "report_to"}


class Exports:
    """The exports of the adapters of a configuration."""

    def __init__(self, config: Mapping[str, Any], adapters: Adapters) -> None:
        self.export, self.adapters = config["export"], adapters

    @in_one_line
    def adapter(self, wildcards: Wildcards) -> str:
        """Return the final adapter: with DPO not the SFT adapter that it continues from."""
        self.adapters.of_variant(wildcards)
        return f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}adapter"

    @in_one_line
    def merge_base(self, wildcards: Wildcards) -> str:
        """Return the weights that the adapter is merged into. Raise UserError for dequantized without nf4."""
        quantization = self.adapters.of_variant(wildcards)["quantization"]
        if self.export["merge_base"] == "dequantized" and quantization != "nf4":
            raise UserError(
                f"export.merge_base is dequantized, and the adapter's tuning.quantization is {quantization}, not nf4; "
                "set it to full"
            )
        return self.export["merge_base"]

    @in_one_line
    def converted(self, wildcards: Wildcards) -> str:
        """Return the source of a GGUF file: the merged model, the base model, or the adapter alone."""
        if wildcards.converted == _BASE:
            return self.adapters.base_model(wildcards)
        if wildcards.converted != "adapter":
            return f"{self._folder(wildcards)}/merged"
        if self.adapters.of_variant(wildcards)["lora"].get("dora"):
            raise UserError(
                "export/adapter.gguf: llama.cpp lays no DoRA adapter over a model (tuning.lora.dora); export the "
                "merged model instead: export/gguf/q8_0.gguf"
            )
        return self.adapter(wildcards)

    def converted_over(self, wildcards: Wildcards) -> list[str]:
        """Return the base model of an adapter that is converted alone."""
        return [self.adapters.base_model(wildcards)] if wildcards.converted == "adapter" else []

    @in_one_line
    def converted_targets(self, wildcards: Wildcards) -> list[str]:
        """Return the target layers of an adapter that is converted alone, as options."""
        if wildcards.converted != "adapter":
            return []
        targets = self.adapters.of_variant(wildcards)["lora"]["targets"]
        return given("--lora-targets", [targets] if isinstance(targets, str) else targets)

    @in_one_line
    def name(self, wildcards: Wildcards) -> str:
        """Return the model's name inside a GGUF file."""
        model = Path(self._reference(wildcards).name).name.removesuffix(".gguf")
        return model if wildcards.converted == _BASE else f"{model}-{wildcards.lang}"

    def served_as(self, wildcards: Wildcards) -> str:
        """Return the model's name in other programs, for the card."""
        return "-".join([wildcards.lang, *Path(wildcards.variant).parts[1:], "chat"])

    @in_one_line
    def template(self, wildcards: Wildcards) -> str:
        """Return the chat template that the adapter is tuned with, for other trainers."""
        method = self.adapters.of_variant(wildcards)["method"]
        if method != "sft":
            raise UserError(
                "export: axolotl.yaml, unsloth_train.py and dataset_info.json are of sft, and tuning.method is "
                f"{method}"
            )
        return self.adapters.template(wildcards)

    @in_one_line
    def settings(self, wildcards: Wildcards) -> str:
        """Return the settings for other trainers, as JSON."""
        settings = self.adapters.settings(_final(wildcards))
        return json.dumps({key: value for key, value in settings.items() if key not in _UNUSED}, sort_keys=True)

    @in_one_line
    def dpo_template(self, wildcards: Wildcards) -> str:
        """Return the chat template that the adapter is tuned with. Raise UserError where it is not tuned by DPO."""
        method = self.adapters.of_variant(wildcards)["method"]
        if method != "dpo":
            raise UserError(f"export/axolotl_dpo is of dpo, and tuning.method is {method}")
        return self.adapters.template(wildcards)

    def train_data(self, wildcards: Wildcards) -> str:
        """Return the threads or preferences that the final adapter is tuned on."""
        return self.adapters.train_data(_final(wildcards))

    def validation_data(self, wildcards: Wildcards) -> str:
        """Return the threads or preferences that the final adapter is validated on."""
        return self.adapters.train_data(_final(wildcards), "validation")

    def before_from(self, folder: str) -> Callable[[Wildcards], list[str]]:
        """Return the option of the adapter that DPO continues, relative to a folder of the export."""

        def before(wildcards: Wildcards) -> list[str]:
            found = self.adapters.before(_final(wildcards))
            return given("--before", [os.path.relpath(path, f"{self._folder(wildcards)}/{folder}") for path in found])

        return before

    def base_model_from(self, folder: str) -> Callable[[Wildcards], str]:
        """Return the base model for other programs, as `base_model` does, relative to a folder of the export."""
        return lambda wildcards: self._base_name(wildcards, f"{self._folder(wildcards)}/{folder}")

    def trainer_folders(self, wildcards: Wildcards) -> list[str]:
        """Return the folders for other trainers beside the card."""
        dpo = self.adapters.of_variant(wildcards)["method"] == "dpo"
        names = ["llama_factory", *(["axolotl_dpo"] if dpo else [])]
        return [f"{self._folder(wildcards)}/{name}" for name in names]

    @in_one_line
    def base_model(self, wildcards: Wildcards) -> str:
        """Return the base model for other programs: its id on the hub, or its folder relative to the export's."""
        return self._base_name(wildcards, self._folder(wildcards))

    @in_one_line
    def _base_name(self, wildcards: Wildcards, folder: str) -> str:
        reference = self._reference(wildcards)
        if reference.kind == "hub":
            return reference.name
        return os.path.relpath(self.adapters.base_model(wildcards), folder)

    @in_one_line
    def base_model_revision(self, wildcards: Wildcards) -> list[str]:
        """Return the configured commit, tag or branch of a base model on the hub, as an option."""
        reference = self._reference(wildcards)
        revision = reference.hub_id[1] if reference.kind == "hub" else None
        return given("--revision", [revision] if revision else [])

    @in_one_line
    def gguf_names(self, wildcards: Wildcards) -> list[str]:
        """Return the GGUF files of the card: the configured ones, and where llama.cpp supports it the adapter alone.

        The base model that it is laid over is beside it, in the first quantisation.
        """
        taken = self.export["adapter_gguf"] and not self.adapters.of_variant(wildcards)["lora"].get("dora")
        alone = ["adapter.gguf", f"base/{self.export['gguf'][0]}.gguf"] if taken else []
        return [*(f"gguf/{quantization}.gguf" for quantization in self.export["gguf"]), *alone]

    def gguf_files(self, wildcards: Wildcards) -> list[str]:
        """Return the paths of the GGUF files of the card."""
        return [f"{self._folder(wildcards)}/{name}" for name in self.gguf_names(wildcards)]

    @in_one_line
    def is_sft(self, wildcards: Wildcards) -> bool:
        """Return whether the method is sft, the only one with files for other trainers."""
        return self.adapters.of_variant(wildcards)["method"] == "sft"

    @in_one_line
    def refuse(self, wildcards: Wildcards) -> None:
        """Raise UserError for an export that no rule makes, naming those of its folder."""
        folder = max((folder for folder in _MADE if wildcards.unknown[1:].startswith(folder)), key=len)
        made = _MADE[folder] + ([] if folder else [name for name in _MADE if name])
        export = self._folder(wildcards)
        raise UserError(
            f"unknown target {export}{wildcards.unknown}; below {export}/{folder} there are {', '.join(made)}"
        )

    def _folder(self, wildcards: Wildcards) -> str:
        return f"{wildcards.results}/{wildcards.lang}/{wildcards.variant}export"

    def _reference(self, wildcards: Wildcards) -> references.Reference:
        return references.parse(self.adapters.of_variant(wildcards)["base_model"])


def _final(wildcards: Wildcards) -> SimpleNamespace:
    """Return the wildcards of the final adapter of an export: with DPO not the SFT adapter that it continues from."""
    return SimpleNamespace(results=wildcards.results, lang=wildcards.lang, variant=wildcards.variant, stage="")
