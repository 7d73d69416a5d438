"""Tests of what the rules use of adapters: settings by method and variant, data, templates, options."""

from types import SimpleNamespace

import pytest

from mothertongue.common.errors import UserError
from mothertongue.workflow import settings
from mothertongue.workflow.adapters import Adapters
from mothertongue.workflow.configuration import lay_over
from mothertongue.workflow.exports import Exports
from mothertongue.workflow.places import Places

DPO = {"method": "dpo"}


def adapters(**values):
    return Adapters(lay_over(settings.defaults(), values), Places())


def wildcards(variant="", stage="", **more):
    return SimpleNamespace(**{"results": "results", "lang": "nl", "variant": variant, "stage": stage} | more)


def test_a_method_changes_settings_and_data_but_not_those_of_its_sft_stage():
    found = adapters(tuning=DPO)
    own, before = found.settings(wildcards()), found.settings(wildcards(stage="sft/"))
    assert (own["learning_rate"], own["epochs"], own["schedule"], own["beta"]) == (5e-6, 1, "cosine", 0.1)
    assert (before["method"], before["learning_rate"]) == ("sft", 2e-4) and "beta" not in before
    assert found.train_data(wildcards()) == "results/nl/preferences/train.jsonl"
    assert found.train_data(wildcards(stage="sft/")) == "results/nl/threads/train.jsonl"
    assert found.before(wildcards()) == ["results/nl/sft/adapter"] and found.before(wildcards(stage="sft/")) == []
    assert "--beta=0.1" in found.options(wildcards())
    assert not [option for option in found.options(wildcards(stage="sft/")) if option.startswith("--beta")]


def test_a_variant_overrides_settings_and_reuses_an_sft_adapter_with_the_same_ones():
    found = adapters(variants={"dpo": DPO, "small": DPO | {"lora": {"rank": 8}}})
    assert found.settings(wildcards("variants/small/"))["lora"] == settings.defaults()["tuning"]["lora"] | {"rank": 8}
    assert found.before(wildcards("variants/dpo/")) == ["results/nl/adapter"]
    assert found.before(wildcards("variants/small/")) == ["results/nl/variants/small/sft/adapter"]


def test_an_unknown_variant_ends_in_one_line(capsys):
    with pytest.raises(SystemExit, match=r"^error: variants: there is no variant 'x'; the configuration has: none$"):
        adapters().settings(wildcards("variants/x/"))


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        ({"fsdp": "no.yaml"}, "tuning.fsdp: no such accelerate configuration: no.yaml"),
        ({"gpus": 3}, "cannot be shared out among 3 GPUs; make it a multiple of 3"),
        ({"validation": {"interval": None, "patience": 2}}, "tuning.validation.patience needs an interval"),
    ],
)
def test_incompatible_settings_are_refused(tuning, said):
    with pytest.raises(UserError, match=said):
        adapters(tuning=tuning)


def test_settings_of_the_machine_do_not_change_the_compared_options():
    machine = {"gpus": 0, "checkpoint_minutes": 1.5, "report_to": "tensorboard"}
    plain, other = adapters(), adapters(tuning=machine)
    assert plain.options(wildcards()) == other.options(wildcards())
    assert other.machine_options(wildcards(), "results") == [
        "--checkpoint-minutes=1.5", "--tensorboard=results/logs/nl/adapter.tensorboard",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prompt_format", "expected"),
    [
        ("auto", "results/models/templates/NousResearch--Llama-2-7b-chat-hf"),
        ("chatml", "config/templates/chatml.jinja"),
        ("config/templates/gemma.jinja", "config/templates/gemma.jinja"),
    ],
)
def test_the_template_is_the_configured_one_or_chosen_for_the_model(prompt_format, expected):
    class Filled(SimpleNamespace):
        def keys(self):
            return ["results"]

        def __getitem__(self, key):
            return getattr(self, key)

    found = adapters(threads={"prompt_format": prompt_format})
    assert found.template(Filled(**vars(wildcards()))) == expected


def test_unknown_exports_and_impossible_merges_are_refused():
    config = settings.defaults()
    exports = Exports(config, Adapters(config, Places()))
    with pytest.raises(
        SystemExit, match=r"unknown target results/nl/export/gguf/q9\.gguf; below results/nl/export/gguf/"
    ):
        exports.refuse(wildcards(unknown="/gguf/q9.gguf"))
    with pytest.raises(SystemExit, match=r"adapter's tuning\.quantization is none, not nf4"):
        Exports(
            lay_over(config, {"export": {"merge_base": "dequantized"}}), adapters(tuning={"quantization": "none"})
        ).merge_base(wildcards())
    assert exports.served_as(wildcards("variants/small/")) == "nl-small-chat"
