"""Tests of the cards: headers that the hub accepts, correct numbers, the licences of all sources."""

import copy
import re

import pytest
from hub_repos import card_errors, card_header
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from published import METRICS, RECORD

from mothertongue.cards import merged_model, render
from mothertongue.cards.adapter import Published, adapter_card
from mothertongue.cards.dataset import dataset_card, on_hub
from mothertongue.cards.preferences import preferences_card
from mothertongue.cards.threads import threads_card
from mothertongue.common import front_matter, licences
from mothertongue.common.plain_text import one_line
from mothertongue.dataset import verdicts

# Characters with a meaning in Markdown, HTML, YAML or a terminal, alone or at the start of a line, and plain words.
PIECES = ["`", "``", "*", "_", "__", "a", "1.", "1)", "-", "+", "=", "===", "---", "#", ">", "|", "~~", "~~~", "[x](y)", "![", "](", "<b>",
          "<!--", "&amp;", "&", "\\", "\n", "\r", "\u2028", "\x1b[2J", "\u202e", " ", "  ", "\t", "$x$", "http://a.b", "www.a.b", ": ", "é", "'",
          '"', "{", "}", "</code>", "<script>"]  # fmt: skip
TEXT = st.one_of(st.lists(st.sampled_from(PIECES)).map("".join), st.text())
HOSTILE = [
    "x\n---\ntags: [mine]\n---\n# x", "<script>alert(1)</script>", "![x](http://a.b/c.png)", "a | b | c", "`` ` ``", "$$x$$ $`y`$",
    "**x** _y_ ~~z~~", "\x1b]0;x\x07\u202e", "- [ ] x", "1. x", "&lt;b&gt; &#35;", "x: y #z", "\\", "[x]: http://a.b", "```\nrm\n```",
]  # fmt: skip
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# The places in a card where a text can be inserted.
PLACES = [
    "{}",
    "it is {} here",
    "# {}",
    "# {} #",
    "- {}",
    "- {}: {}",
    "> {}",
    "x\n> {}",
    "**{}**",
    "[{}](y)",
    "| a |\n|---|\n| {} |",
    "1. {}",
]

ENTRY = {"messages": 7, "excluded": 1, "excluded_because": {"language": 1, "scope": 0}, "out": 6}
ENTRY |= {"status": {"native": 1, "translated": 5}, "route": {}}
ACCOUNTING = {"train": {"en": ENTRY}, "validation": {}, "total": ENTRY}
RATIO = {"quantiles": {"p5": 0.5, "p50": 1.0, "p95": 2.0}}
QUALITY = {"reasons": {}, "cured": {}, "notes": {}, "length_ratio": {"characters": RATIO, "bytes": RATIO}}
QUALITY |= {"language": None, "score": {"quantiles": None}, "meaning": {"quantiles": None}}


def dataset(source="OpenAssistant/oasst1", licence="apache-2.0", models=None, found=None, **account):
    card = dataset_card(
        "nl",
        "Dutch",
        [(source, licence)],
        ACCOUNTING | account,
        models or {},
        {"total": QUALITY, "corrections": None, "glossary": {}},
        found or {},
    )
    assert not card_errors(card, "dataset"), card
    return card


def adapter(metrics, base=None, **published):
    record = copy.deepcopy(RECORD)
    record["base_model"] |= base or {}
    published = Published("me/tiny-nl", ["me/oasst1_nl", "OpenAssistant/oasst1"], ["apache-2.0"], metrics, **published)
    card = adapter_card("nl", "Dutch", record, "chat_template.jinja", published)
    assert not card_errors(card, "model"), card
    return card


def test_an_adapters_card_says_who_wins_or_why_that_is_withheld():
    score = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 100}
    pair = {
        "first": "adapter",
        "second": "base",
        "variant": "",
        "figures": {"wins": 60, "losses": 20, "score": score, "by_kind": {}},
    }
    found = {"judge": {"model": "a-judge"}, "withheld": None, "pairs": [pair],
             "agreement": {"groups": {"native": {"figures": {"score": score}}}}}  # fmt: skip

    def card(found):
        return adapter_card(
            "nl", "Dutch", RECORD, "chat_template.jinja", Published("me/t", ["me/d"], ["mit"], METRICS, found)
        )

    assert "- adapter vs base model: wins 70% (60–80, n 100), ties count half; the first wins" in card(found)
    withheld = card(found | {"withheld": "it cannot judge Dutch", "pairs": None})
    assert "- a-judge: no win rates, because it cannot judge Dutch" in withheld and "wins 70%" not in withheld
    assert "judge" not in card({})


def test_a_dataset_card_lists_the_licences_of_all_sources():
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


def test_the_language_code_is_one_that_the_hub_accepts():
    card = dataset_card(
        "zh-Hant",
        "Chinese (Traditional)",
        [("a/b", "mit")],
        ACCOUNTING,
        {},
        {"total": QUALITY, "corrections": None, "glossary": {}},
        {},
    )
    assert not card_errors(card, "dataset")
    assert card_header(card)["language"] == ["zh"] and card_header(card)["language_bcp47"] == ["zh-Hant"]
    counts = {"train": {"threads": 1, "trees": {}, "messages": {}}}
    threads = threads_card("Chinese", "me/t", "me/d", card_header(card), counts)
    assert card_header(threads)["language_bcp47"] == ["zh-Hant"]


def test_the_dataset_card_on_the_hub_loads_the_dataset_from_the_hub():
    card = on_hub(dataset(), "me/oasst1_nl")
    assert 'load_dataset("me/oasst1_nl")' in card and "data_files=" not in card
    assert card_header(card) == card_header(dataset())


def test_the_threads_card_takes_its_licence_from_the_dataset_card():
    accounts = {"threads": 3, "trees": {"thread": 3, "no usable reply": 1}, "messages": {"in a thread": 9}}
    accounting = {"train": accounts, "validation": accounts | {"threads": 0}}
    header = card_header(dataset(licence="My own"))
    card = threads_card("Dutch", "me/oasst1_nl_threads", "me/oasst1_nl", header, accounting)
    assert not card_errors(card, "dataset"), card
    assert card_header(card)["license_name"] == "my-own"
    # A split without threads has no files to load.
    assert card_header(card)["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    assert "3 in train, 0 in validation" in card and "| train | trees | no usable reply | 1 |" in card


def test_every_card_says_that_a_model_wrote_what_the_assistant_says():
    card = dataset(found={"Big/T@teacher": "cc-by-nc-4.0"}, answered_by={"Big/T@teacher": 4})
    header = card_header(card)
    assert "written by a model, not by people**: of its messages, 4 by Big/T@teacher" in " ".join(card.split())
    assert header["license"] == ["apache-2.0", "cc-by-nc-4.0"] and "synthetic" in header["tags"]
    assert "**Not for commercial use**: the licence of Big/T@teacher forbids it." in card
    counts = {"threads": 3, "trees": {}, "messages": {}, "pairs": 3, "questions": {}, "replies": {}}
    for make in (threads_card, preferences_card):
        made = make("Dutch", "me/t", "me/d", header, {"train": counts, "validation": counts})
        assert not card_errors(made, "dataset") and "written by a model, not by people**: Big/T@teacher" in " ".join(
            made.split()
        )
    assert "as people ranked them" not in made
    assert "not by people**: Big/T@teacher." in " ".join(adapter(METRICS, teachers=["Big/T@teacher"]).split())
    plain = [
        dataset(),
        threads_card("Dutch", "me/t", "me/d", card_header(dataset()), {"train": counts}),
        adapter(METRICS),
    ]
    assert not [one for one in plain if "not by people" in one or "answered_by" in one or "synthetic" in one]


def test_the_card_that_tuning_writes_names_the_teacher_and_its_licence():
    def card(record):
        found = adapter_card("nl", "Dutch", record, "chat_template.jinja")
        assert not card_errors(found, "model"), found
        return found

    plain = card(RECORD)
    assert "not by people" not in plain and "## Licences" not in plain
    taught = RECORD | {"teachers": {"Big/T@teacher": "cc-by-nc-4.0"}}
    found = card(taught)
    assert "written by a model, not by people**: Big/T@teacher." in " ".join(found.split())
    assert "## Licences\n\n- base model owner/tiny: llama2\n- Big/T@teacher: cc-by-nc-4.0\n" in found
    assert "**Not for commercial use**: the licence of Big/T@teacher forbids it." in found
    assert card_header(found)["license_name"] == "llama2-and-cc-by-nc-4.0"
    assert "- Big/T@teacher: not stated" in card(RECORD | {"teachers": {"Big/T@teacher": None}})
    # Published, it is named once.
    published = Published("me/t", ["me/d"], ["mit"], METRICS, teachers=["Big/T@teacher"])
    found = adapter_card("nl", "Dutch", taught, "chat_template.jinja", published)
    assert "not by people**: Big/T@teacher." in " ".join(found.split())
    assert "- data me/d: mit\n- Big/T@teacher: cc-by-nc-4.0\n" in found


def test_prompts_of_a_file_are_not_called_the_validation_split():
    origins = {"messages": 5, "config/prompts/pt.txt": 7}
    mixed = METRICS | {"prompts": METRICS["prompts"] | {"native": METRICS["prompts"]["native"] | {"from": origins}}}
    data = card_header(adapter(mixed))["model-index"][0]["results"][0]["dataset"]
    assert data["name"] == "held-out native prompts: 5 of the validation split, 7 of pt.txt" and "split" not in data


def test_the_adapter_card_contains_the_measurements():
    card = adapter(METRICS)
    header = card_header(card)
    assert header["base_model"] == "owner/tiny" and header["license"] == "llama2"
    assert header["datasets"] == ["me/oasst1_nl", "OpenAssistant/oasst1"]
    (prompts, native, english) = header["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in prompts["metrics"]} == {
        "in_language": 0.75,
        "ended": 1.0,
        "repetition": 0.125,
    }
    assert [m["value"] for m in native["metrics"]] == [1.5] and native["dataset"]["split"] == "validation"
    # The hub's own client parses the numbers.
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
def test_missing_measurements_are_stated(metrics):
    card = adapter(metrics)
    assert "model-index" not in card_header(card) and card.count("not measured") > 4


def test_an_adapter_inherits_non_commercial_licences_of_its_data():
    for found, name in ((["apache-2.0"], None), (["apache-2.0", "cc-by-nc-4.0"], "llama2-and-cc-by-nc-4.0")):
        published = Published("me/tiny-nl", ["me/oasst1_nl"], found, {})
        card = adapter_card("nl", "Dutch", RECORD, "chat_template.jinja", published)
        header = card_header(card)
        assert header["license"] == ("other" if name else "llama2") and header.get("license_name") == name
        assert not card_errors(card, "model")
        assert ("**Not for commercial use**: the licence of me/oasst1_nl forbids it." in card) == bool(name)
    unknown = adapter_card("nl", "Dutch", RECORD, "chat_template.jinja", Published("me/t", ["me/d"], [], {}))
    assert "- data me/d: not stated" in unknown


def test_a_local_base_model_is_named_without_its_path():
    card = adapter({}, {"hub_id": None, "reference": "/home/me/models/own-7b", "licence": "cc-by-nc-4.0"})
    assert "/home/me" not in card and "base_model" not in card_header(card)
    assert "adapter for own-7b" in card and "from_pretrained(BASE_MODEL, dtype=torch.bfloat16" in card
    assert "**Not for commercial use**: the licence of own-7b forbids it." in card


def parsed(text):
    """Return the elements of a Markdown text in order, each with its content."""
    found = []
    for token in MARKDOWN.parse(text):
        found += [(token.type, token.tag, token.attrs.get("href"), "")]
        for inner in token.children or []:
            if inner.type == "text" and found[-1][0] == "text":
                inner.content = found.pop()[3] + inner.content
            found += [(inner.type, inner.tag, inner.attrs.get("href"), inner.content)]
    return [element for element in found if element[0] != "text" or element[3]]


@given(TEXT, st.sampled_from(PLACES))
def test_a_text_renders_as_itself_and_adds_no_element(text, place):
    plain = one_line(" ".join(text.split()))
    wanted = [(*element[:3], element[3].replace("word", plain)) for element in parsed(place.replace("{}", "word"))]
    if plain:
        assert parsed(place.replace("{}", render.markdown(text))) == wanted


@given(TEXT.filter(str.strip), st.sampled_from(PLACES))
def test_code_renders_as_itself(text, place):
    # A browser shows several spaces as one.
    rendered = re.sub(" +", " ", MARKDOWN.render(place.replace("{}", render.code(text))))
    plain = one_line(" ".join(text.split()))
    escaped = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert rendered == re.sub(" +", " ", MARKDOWN.render(place.replace("{}", "`word`"))).replace("word", escaped)


@given(TEXT, TEXT)
def test_a_value_adds_no_key_to_a_header(one, other):
    values = {"language": ["nl"], "pretty_name": one, "tags": [one, other], "datasets": {"name": other}}
    text = "\n".join([*render.header(values), "", "# x"])
    plain = {
        "pretty_name": one_line(one),
        "tags": [one_line(one), one_line(other)],
        "datasets": {"name": one_line(other)},
    }
    assert card_header(text) == {"language": ["nl"]} | {key: value for key, value in plain.items() if value}
    assert front_matter.read(text, "README.md") == card_header(text)


def all_cards(text):
    """Return a card of each kind in which every name that comes from outside is this text."""
    record = copy.deepcopy(RECORD) | {"system_prompt": " ".join(text.split()), "device": text, "lang": "nl"}
    record["base_model"] |= {"reference": text, "revision": text, "licence": text}
    record["settings"] |= {"lora_targets": [text], "quantization": text}
    quality = QUALITY | {
        "reasons": {text: {"messages": 2}},
        "language": {"in_target_share": 0.5, "judged": 2, "others": {text: 1}},
    }
    accounting = ACCOUNTING | {"train": {text: ENTRY}}
    shares = verdicts.shares(["good"] * 40)
    judged = {
        "corrected": 1,
        "approved": 2,
        "judged_wrong": 3,
        "refused": [{"where": text, "message_id": text, "reason": text}],
    }
    judged["sample"] = {"total": shares, "by_source": {text: shares}, "by_model": {text: shares}}
    whole = {"total": quality, "corrections": judged, "glossary": {text: {"uses": 2, "hits": 1}}}
    data = dataset_card("nl", text, [(text, text)], accounting, {text: 3}, whole, {text: f"{text} nc"})
    counts = {"threads": 1, "trees": {text: 1}, "messages": {}}
    threads = threads_card(text, text, text, front_matter.read(data, "README.md"), {"train": counts})
    metrics = copy.deepcopy(METRICS) | {"prompts": {text: {"count": 1}}}
    metrics["answers"][text] = metrics["answers"]["base"]
    found = {"judge": {"model": text}, "withheld": f"it cannot judge {text}", "pairs": None}
    published = Published(f"me/{text}", [text], [f"{text} nc"], metrics, found)
    adapter = adapter_card("nl", text, record, text, published)
    return [data, threads, adapter, merged_model.card(record, text, "full"), on_hub(data, text)]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_do_not_change_the_structure_of_a_card(text):
    for card, plain in zip(all_cards(text), all_cards("word"), strict=True):
        assert card_header(card).keys() == card_header(plain).keys()
        body, expected = (parsed(found.split("\n---\n", 1)[1]) for found in (card, plain))
        assert [element[:2] for element in body] == [element[:2] for element in expected]
        assert not any(letter in card for letter in "\x1b\x07\u202e")
