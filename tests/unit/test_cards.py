"""Cards: headers that the hub accepts, numbers as they are, licences of all sources."""

import copy

import pytest
from hub_repos import card_errors, card_header
from huggingface_hub import ModelCard
from published import METRICS, RECORD

from mothertongue import licences
from mothertongue.adapter_card import Published, adapter_card
from mothertongue.dataset_card import dataset_card, on_hub
from mothertongue.threads_card import threads_card

ENTRY = {"messages": 7, "excluded": 1, "excluded_because": {"language": 1, "scope": 0}, "out": 6}
ENTRY |= {"status": {"native": 1, "translated": 5}, "route": {}}
ACCOUNTING = {"train": {"en": ENTRY}, "validation": {}, "total": ENTRY}
RATIO = {"quantiles": {"p5": 0.5, "p50": 1.0, "p95": 2.0}}
QUALITY = {"reasons": {}, "cured": {}, "length_ratio": {"characters": RATIO, "bytes": RATIO}}
QUALITY |= {"language": None, "score": {"quantiles": None}}


def dataset(source="OpenAssistant/oasst1", licence="apache-2.0", models=None, found=None):
    card = dataset_card("nl", "Dutch", source, licence, ACCOUNTING, models or {}, {"total": QUALITY}, found or {})
    assert not card_errors(card, "dataset"), card
    return card


def adapter(metrics, base=None):
    record = copy.deepcopy(RECORD)
    record["base_model"] |= base or {}
    published = Published("me/tiny-nl", ["me/oasst1_nl", "OpenAssistant/oasst1"], ["apache-2.0"], metrics)
    card = adapter_card("nl", "Dutch", record, "chat_template.jinja", published)
    assert not card_errors(card, "model"), card
    return card


def test_a_datasets_licences_are_those_of_its_sources():
    used = {"a/en-nl@1": 3, "a/es-en@2+a/en-nl@1": 2}
    card = dataset(models=used, found={"a/en-nl@1": "cc-by-4.0", "a/es-en@2": None, "not/used@1": "mit"})
    header = card_header(card)
    assert header["license"] == ["apache-2.0", "cc-by-4.0"] and header["source_datasets"] == ["OpenAssistant/oasst1"]
    assert "- a/en-nl@1: cc-by-4.0\n- a/es-en@2: not stated" in card and "not/used" not in card
    assert "commercial" not in card
    card = dataset("trees.jsonl", models={"f/nllb@1": 5}, found={"f/nllb@1": "cc-by-nc-4.0"})
    header = card_header(card)
    assert header["license"] == ["apache-2.0", "cc-by-nc-4.0"] and "source_datasets" not in header
    assert "**Not for commercial use**: the licence of f/nllb@1 forbids it." in card
    assert card_header(dataset(licence="My own"))["license_name"] == "my-own"
    assert "- OpenAssistant/oasst1: not stated" in dataset(licence="")
    assert licences.header([None, ""]) == {"license": "unknown"}


def test_a_languages_code_is_one_that_the_hub_takes():
    card = dataset_card("zh-Hant", "Chinese (Traditional)", "a/b", "mit", ACCOUNTING, {}, {"total": QUALITY}, {})
    assert not card_errors(card, "dataset")
    assert card_header(card)["language"] == ["zh"] and card_header(card)["language_bcp47"] == ["zh-Hant"]
    counts = {"train": {"threads": 1, "trees": {}, "messages": {}}}
    threads = threads_card("Chinese", "me/t", "me/d", card_header(card), counts)
    assert card_header(threads)["language_bcp47"] == ["zh-Hant"]


def test_the_datasets_card_on_the_hub_loads_from_there():
    card = on_hub(dataset(), "me/oasst1_nl")
    assert 'load_dataset("me/oasst1_nl")' in card and "data_files=" not in card
    assert card_header(card) == card_header(dataset())


def test_the_threads_card_follows_the_datasets():
    accounts = {"threads": 3, "trees": {"thread": 3, "no usable reply": 1}, "messages": {"in a thread": 9}}
    accounting = {"train": accounts, "validation": accounts | {"threads": 0}}
    header = card_header(dataset(licence="My own"))
    card = threads_card("Dutch", "me/oasst1_nl_threads", "me/oasst1_nl", header, accounting)
    assert not card_errors(card, "dataset"), card
    assert card_header(card)["license_name"] == "my-own"
    # There is nothing to load of a split without threads.
    assert card_header(card)["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    assert "3 in train, 0 in validation" in card and "| train | trees | no usable reply | 1 |" in card


def test_the_adapters_card_has_what_was_measured():
    card = adapter(METRICS)
    header = card_header(card)
    assert header["base_model"] == "owner/tiny" and header["license"] == "llama2"
    assert header["datasets"] == ["me/oasst1_nl", "OpenAssistant/oasst1"]
    (native, english) = header["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in native["metrics"]} == {
        "in_language": 0.75, "ended": 1.0, "repetition": 0.125, "bits_per_byte": 1.5,
    }  # fmt: skip
    # The hub's own reader understands the numbers.
    results = ModelCard(card).data.eval_results
    assert {(result.metric_type, result.metric_value) for result in results} >= {
        ("in_language", 0.75),
        ("bits_per_byte", 0.9),
    }
    assert [m["value"] for m in english["metrics"]] == [0.9] and native["dataset"]["type"] == "me/oasst1_nl"
    assert "| base model | 25% (0–50) | 50% (25–75) | 0.500 (0.250–0.750) | not measured |" in card
    assert "| adapter | 1.500 (1.250–1.750) | not measured | 0.900 (0.800–1.000) |" in card
    assert "12 native, 0 translated. In brackets: 95% intervals" in card
    assert "base model owner/tiny: llama2" in card and "data me/oasst1_nl: apache-2.0" in card


@pytest.mark.parametrize("metrics", [{}, {"language": {"base": {"answers": 2}}, "bits_per_byte": {"base": 1.75}}])
def test_what_was_not_measured_is_said(metrics):
    card = adapter(metrics)
    assert "model-index" not in card_header(card) and card.count("not measured") > 4


def test_an_adapter_inherits_what_forbids_commercial_use_of_its_data():
    for found, name in ((["apache-2.0"], None), (["apache-2.0", "cc-by-nc-4.0"], "llama2-and-cc-by-nc-4.0")):
        published = Published("me/tiny-nl", ["me/oasst1_nl"], found, {})
        card = adapter_card("nl", "Dutch", RECORD, "chat_template.jinja", published)
        header = card_header(card)
        assert header["license"] == ("other" if name else "llama2") and header.get("license_name") == name
        assert not card_errors(card, "model")
        assert ("**Not for commercial use**: the licence of me/oasst1_nl forbids it." in card) == bool(name)
    unknown = adapter_card("nl", "Dutch", RECORD, "chat_template.jinja", Published("me/t", ["me/d"], [], {}))
    assert "- data me/d: not stated" in unknown


def test_a_base_model_that_is_not_on_the_hub_is_named_without_its_folder():
    card = adapter({}, {"hub_id": None, "reference": "/home/me/models/own-7b", "licence": "cc-by-nc-4.0"})
    assert "/home/me" not in card and "base_model" not in card_header(card)
    assert "adapter for own-7b" in card and "from_pretrained(BASE_MODEL)" in card
    assert "**Not for commercial use**: the licence of own-7b forbids it." in card
