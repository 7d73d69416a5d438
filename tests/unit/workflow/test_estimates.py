"""Tests of the estimates: their order of magnitude, what they scale with, and where there is none."""

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mothertongue.common.tsv import read_table
from mothertongue.endpoints.budget import Spent
from mothertongue.translation import engines
from mothertongue.workflow import configuration, estimates
from mothertongue.workflow.dry_run import PlannedJob
from mothertongue.workflow.estimates import Estimator

CONFIG = configuration.read(Path("config/config.yaml"))
PEAKS = {row["gpu"]: float(row["tflops"]) for row in read_table(Path("config/gpus.tsv"))}
OASST1 = {row["language"]: int(row["messages"]) for row in read_table(Path("config/oasst1_messages.tsv"))}
CHARACTERS = estimates.characters(CONFIG, Path("none"), OASST1)
CLUSTER = Estimator(CONFIG, CHARACTERS, PEAKS, "h200", cluster=True)
MODEL = "results/models/translation/Helsinki-NLP--opus-mt-en-nl"


def with_values(estimator, **values):
    return replace(estimator, config=configuration.lay_over(estimator.config, values))


def job(rule, inputs=(), gpus=1, threads=4, gpu_model="", **wildcards):
    return PlannedJob(rule, tuple(inputs), (), wildcards, threads, 4000, gpus, 60, 400, gpu_model)


def translate(source="en", **facts):
    return job("translate", [MODEL], origin="", source=source, lang="nl", shard="0", **facts)


JUDGE = ["results/models/endpoints/judge"]


def test_a_judge_is_asked_for_each_pair_in_both_orders():
    estimator = with_values(CLUSTER, judge={"pairs": ["adapter vs base"], "prompts": 50, "human_pairs": 100})
    asked = estimator.endpoints([job("judge", JUDGE, lang="nl"), job("evaluate", [], lang="nl")])["judge"]
    assert asked.requests == 2 * (50 + 2 * 100) and asked.input > 500 * asked.requests > asked.output > 0
    assert estimator.endpoints([])["judge"] == Spent()


def test_what_an_endpoint_is_asked_for_grows_with_the_text():
    endpoint = {"engine": "endpoint", "endpoint": {"model": "some-model"}}
    estimator = with_values(CLUSTER, translation=endpoint)
    shards = [
        job("translate", ["results/models/endpoints/translation"], origin="", source="en", lang="nl", shard="0")
    ] * 2
    asked = estimator.endpoints(shards)["translation"]
    # OASST1's English: 41,300 messages of 5.1 million tokens.
    assert asked.requests == pytest.approx(41_300, rel=0.1) and asked.input == pytest.approx(5.1e6 + 20e6, rel=0.2)
    assert estimator.endpoints(shards[:1])["translation"].output == pytest.approx(asked.output / 2, rel=0.01)
    assert estimator.seconds(shards[0]) is None
    assert CLUSTER.endpoints([translate()])["translation"].requests == 0
    fallback = with_values(CLUSTER, translation={"fallback": "endpoint"} | endpoint | {"engine": "opus-mt"})
    assert fallback.endpoints(shards) == CLUSTER.endpoints([])


def test_a_teacher_is_asked_for_the_replies_of_threads_and_users_alone_are_translated():
    taught = with_values(CLUSTER, answers="teacher", source={"scope": "threads"})
    answers = [job("answer", ["results/models/endpoints/teacher"], origin="", source="en", lang="nl", shard="0")] * 2
    asked = taught.endpoints(answers)["teacher"]
    # OASST1's English threads: 5.9 million characters, a reply in 1,290.
    assert asked.requests == pytest.approx(4_600, rel=0.1) and asked.output == pytest.approx(1.8e6, rel=0.1)
    assert asked.input > asked.requests * 200
    before = with_values(CLUSTER, source={"scope": "threads"}).seconds(translate()) - estimates._START
    assert taught.seconds(translate()) - estimates._START == pytest.approx(0.17 * before)


TUNE = job("tune", lang="nl", variant="", stage="")


def test_oasst1_is_known_before_it_is_fetched():
    assert sum(CHARACTERS[""].values()) == pytest.approx(44e6, rel=0.05)
    assert estimates.characters(configuration.lay_over(CONFIG, {"source": {"dataset": "me/mine"}}), Path("-"), {}) == {
        "": {}
    }


def test_fetched_messages_are_counted_by_language_in_characters(tmp_path):
    path = tmp_path / "messages.parquet"
    pq.write_table(pa.table({"lang": ["en", "es", "en", "xx"], "text": ["abc", "ñandú", "é", "none of ours"]}), path)
    assert estimates.characters(CONFIG, tmp_path, OASST1) == {"": {"en": 4, "es": 5}}


def test_translation_scales_with_text_shards_model_and_gpu():
    def seconds(estimator=CLUSTER, job=None):
        return estimator.seconds(job or translate()) - estimates._START

    whole = seconds(with_values(CLUSTER, source={"shards": {"en": 1}}))
    assert seconds() == pytest.approx(whole / 2)
    assert seconds(with_values(CLUSTER, source={"scope": "threads"})) == pytest.approx(0.29 * whole / 2)
    # A model of 600 million weights takes eight times the computing, and the same Python.
    assert 2 < seconds(with_values(CLUSTER, translation={"engine": "nllb"})) / seconds() < 8
    assert seconds(job=translate(gpu_model="nvidia_a100")) > seconds()
    # Firefox models run on the job's cores: 20 million characters in 2 shards at 16,000 a second.
    firefox = with_values(CLUSTER, translation={"engine": "firefox"})
    assert seconds(firefox, translate(gpus=0)) == pytest.approx(CHARACTERS[""]["en"] / 2 / 16_000)
    # Both engines translate everything, and a model's name may say its size; a fallback is asked for little.
    both = with_values(CLUSTER, translation={"engines": ["opus-mt", "nllb"]})
    nllb = with_values(CLUSTER, translation={"engine": "nllb"})
    assert seconds(both) == pytest.approx(seconds() + seconds(nllb))
    assert seconds(with_values(CLUSTER, translation={"fallback": "nllb"})) == seconds()
    large = with_values(CLUSTER, translation={"engine": "nllb", "model": "facebook/nllb-200-3.3B"})
    assert seconds(large) > 2 * seconds(nllb)
    # The kind of GPU is the profile's where nothing else names it.
    unnamed = replace(CLUSTER, gpu=None)
    assert seconds(unnamed, translate(gpu_model="h200")) == seconds()
    # Messages that need no model are copied.
    assert CLUSTER.seconds(job("translate", origin="", source="nl", lang="nl", shard="0", gpus=0)) == estimates._START


def test_tuning_scales_with_the_models_parameters_epochs_and_gpus():
    whole = CLUSTER.seconds(TUNE) - estimates._START
    # OASST1 twice, with 7 billion parameters on an H200: about an hour.
    assert whole / 3600 == pytest.approx(0.9, rel=0.2)
    one = with_values(CLUSTER, tuning={"epochs": 1})
    assert one.seconds(TUNE) - estimates._START == pytest.approx(whole / 2)
    small = with_values(CLUSTER, variants={"small": {"base_model": "Qwen/Qwen2.5-0.5B-Instruct"}})
    variant = job("tune", lang="nl", variant="variants/small/", stage="")
    assert small.seconds(variant) - estimates._START == pytest.approx(whole / 14)
    steps = [
        with_values(CLUSTER, tuning={"max_steps": count}).seconds(TUNE) - estimates._START for count in (10, 20_000)
    ]
    assert steps[0] < 20 and steps[1] == pytest.approx(2000 * steps[0]) and steps[1] > whole
    assert CLUSTER.seconds(replace(TUNE, gpus=4)) - estimates._START == pytest.approx(whole / 4)


def test_steps_without_a_model_take_seconds_and_fetches_as_long_as_their_size():
    for rule in ("split", "combine", "threads"):
        assert estimates._START < CLUSTER.seconds(job(rule, gpus=0, lang="nl")) < 30
    large = replace(job("fetch_base_model", gpus=0, model="x"), disk_mb=15_000)
    assert CLUSTER.seconds(large) == estimates._START + 750


@pytest.mark.parametrize(
    ("estimator", "planned"),
    [
        (replace(CLUSTER, gpu=None), translate()),
        (replace(CLUSTER, characters={"": {}}), translate()),
        (replace(CLUSTER, characters={"": {}}), TUNE),
        (with_values(CLUSTER, tuning={"method": "dpo"}), TUNE),
        (with_values(CLUSTER, tuning={"base_model": "models/mine"}), TUNE),
        (CLUSTER, job("evaluate", lang="nl", variant="", stage="")),
    ],
)
def test_what_is_unknown_has_no_estimate(estimator, planned):
    assert estimator.seconds(planned) is None


def test_a_machine_without_a_gpu_uses_its_cores():
    here = replace(CLUSTER, gpu=None, cluster=False)
    assert here.seconds(translate()) > 5 * CLUSTER.seconds(translate())
    assert here.seconds(TUNE) > 50 * CLUSTER.seconds(TUNE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("nvidia_h100_80gb_hbm3", "h100"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA A10G", "a10g"),
        ("Tesla T4", "t4"),
        ("AMD MI300X", None),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA RTX A1000 Laptop GPU", None),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce GT 430", None),
        ("", None),
    ],
)
def test_kinds_of_gpu_are_found_in_names(name, kind):
    assert estimates.kind(name, PEAKS) == kind


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("NousResearch/Llama-2-7b-chat-hf", 7e9),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
        ("Qwen/Qwen2.5-0.5B", 0.5e9),
        ("Qwen/Qwen3-8B@abc", 8e9),
        ("package:xllamacpp/SmolLM2-360M.gguf", 360e6),
        ("mistralai/Mixtral-8x7B-v0.1", None),
        ("models/mine", None),
    ],
)
def test_parameters_are_read_from_names(model, parameters):
    assert estimates.parameters_in_name(model) == parameters


def test_every_engine_has_a_number_of_parameters():
    assert {*estimates._PARAMETERS, "firefox", "endpoint"} == set(engines.NAMES)


def test_the_manual_has_the_times_of_the_estimator():
    rows = re.findall(r"^\| (`[a-z0-9-]+`.*) \|$", manual_section("## How many shards"), re.MULTILINE)
    assert len(rows) == 5
    for name, *cells in (row.split(" | ") for row in rows):
        engine = re.findall("`([a-z0-9-]+)`", name)[-1 if "600M" not in name else 1]
        for device, cell in zip(("cpu", "t4", "a10g", "a100", "h200"), cells, strict=True):
            speed = CLUSTER.translation_speed(engine, device, 2 if device == "cpu" else 4)
            minutes = CHARACTERS[""]["en"] / speed / 60
            told = f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.0f} h"
            assert cell == ("" if engine == "firefox" and device != "cpu" else told), (name, device)


def manual_section(title):
    return Path("docs/stages/translation.md").read_text(encoding="utf-8").partition(title)[2].partition("\n## ")[0]
