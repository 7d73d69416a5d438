"""Tests of the quality report: its figures on tables small enough to count by hand, its plots, and its program."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oasst import row

from mothertongue.dataset import quality_plots
from mothertongue.dataset.quality_report import EDGES, distribution, identify, report
from mothertongue.formats.messages import ROUTES, STATUSES, TRANSLATED, write
from mothertongue.translation.glossary import Glossary, Term

PORTUGUESE = "O gato dormiu o dia inteiro na varanda da casa porque estava muito cansado."
SPANISH = "El perro corre por la calle y los niños juegan en el parque cerca de la iglesia."
ENGLISH = "The train leaves the station early in the morning, when nobody is awake yet."


def message(id_, source="en", status="translated", text=PORTUGUESE, source_text=ENGLISH, **kwargs):
    """Return one translated message."""
    values = {"split": "train", "source_lang": source, "lang": "pt", "source_text": source_text, "model": "m@1"}
    values |= {"route": "direct", "status": status, "reasons": [], "score": None, "meaning": None}
    return row(id_, text=None if status == "failed" else text) | values | kwargs


def shard(*messages):
    return pa.Table.from_pylist(list(messages), schema=TRANSLATED)


def test_statuses_routes_and_models_are_counted_by_source_language():
    figures = report(
        [
            shard(message("a"), message("b", status="flagged", reasons=["empty"]), message("c", status="copied")),
            shard(message("d", "pt", "native", route="native", model=None)),
            shard(
                message("e", "es", "failed", route="none", model=None), message("f", "es", route="pivot", model="n@2")
            ),
        ],
        "pt",
    )
    assert list(figures["by_source"]) == ["en", "es", "pt"]
    total = figures["total"]
    assert total["messages"] == 6
    statuses = {"native": 1, "translated": 2, "copied": 1, "flagged": 1, "failed": 1}
    assert total["status"] == {status: statuses.get(status, 0) for status in STATUSES}
    routes = {"native": 1, "direct": 3, "pivot": 1, "none": 1}
    assert total["route"] == {route: routes.get(route, 0) for route in ROUTES}
    assert total["model"] == {"m@1": 2, "n@2": 1}
    assert figures["by_source"]["pt"]["length_ratio"]["messages"] == 0


def test_glossary_terms_are_counted_with_their_hits():
    terms = Glossary([Term("train", "comboio"), Term("station", "estação"), Term("bridge", "ponte")])
    rows = [
        message("a", text="O comboio sai da estação."),
        message("b"),
        message("c", route="pivot"),
        message("d", status="copied"),
    ]
    assert report([shard(*rows)], "pt", glossary=lambda lang: terms)["glossary"] == {
        "en: station": {"uses": 2, "hits": 1}, "en: train": {"uses": 2, "hits": 1},
    }  # fmt: skip
    assert report([shard(*rows)], "pt")["glossary"] == {}


def test_reasons_are_counted_by_message_with_the_first_five_as_examples():
    flagged = [message(f"m{i}", status="flagged", reasons=["repetition"]) for i in range(7)]
    both = message("x", status="flagged", reasons=["empty", "repetition"])
    cured = message("y", reasons=["cured: empty", "pivot: cured: repetition"])
    figures = report([shard(*flagged[:4]), shard(*flagged[4:], both, cured)], "pt")["total"]
    assert list(figures["reasons"].items()) == [
        ("repetition", {"messages": 8, "examples": ["m0", "m1", "m2", "m3", "m4"]}),
        ("empty", {"messages": 1, "examples": ["x"]}),
    ]
    assert figures["cured"] == {
        "empty": {"messages": 1, "examples": ["y"]},
        "pivot: repetition": {"messages": 1, "examples": ["y"]},
    }


def test_length_ratios_cover_only_messages_translated_by_a_model():
    texts = ["ab", "abcd", "abcdef", "abcdefgh", "éééééééééé"]
    messages = [message(f"m{i}", text=text, source_text="abcd") for i, text in enumerate(texts)]
    messages[0]["status"] = "flagged"
    ignored = [message("n", status="copied", text="abcd", source_text="a"), message("o", status="failed")]
    lengths = report([shard(*messages, *ignored)], "pt")["total"]["length_ratio"]
    assert lengths["messages"] == 5
    assert lengths["characters"]["quantiles"] == {
        "p1": 0.52, "p5": 0.6, "p25": 1.0, "p50": 1.5, "p75": 2.0, "p95": 2.4, "p99": 2.48,
    }  # fmt: skip
    assert lengths["bytes"]["quantiles"]["p99"] == 4.88
    filled = {edge: n for edge, n in zip([0, *EDGES["length_ratio"]], lengths["bytes"]["histogram"], strict=True) if n}
    assert filled == {0.5: 1, 1.0: 1, 1.4142: 1, 2.0: 1, 4.7568: 1}


def test_scores_are_summarised_and_messages_without_a_score_are_counted():
    messages = [message(str(i), score=score) for i, score in enumerate([-0.5, None, -0.3, -9.0, 0.25])]
    scores = report([shard(*messages, message("c", status="copied"))], "pt")["total"]["score"]
    assert (scores["messages"], scores["without"]) == (4, 1)
    assert scores["quantiles"]["p50"] == -0.4
    filled = {edge: n for edge, n in zip(["below", *EDGES["score"]], scores["histogram"], strict=True) if n}
    assert filled == {"below": 1, -0.6: 1, -0.4: 1, 0.0: 1}
    none = report([shard(message("a"))], "pt")["total"]["score"]
    assert none == {"messages": 0, "without": 1, "quantiles": None, "histogram": None}


def test_the_language_of_translations_is_identified_without_code_and_links():
    code = "```python\nwhile the_train_is_late: print('please wait for the next train, it will be here soon')\n```\n"
    link = "https://example.org/the/quick/brown/fox/jumps/over/the/lazy/dog/and/runs/away "
    texts = [PORTUGUESE, SPANISH, ENGLISH, SPANISH, code + PORTUGUESE, link + PORTUGUESE, code, link, "Bom dia."]
    figures = report([shard(*(message(str(i), text=text) for i, text in enumerate(texts)))], "pt")
    assert figures["total"]["language"] == {
        "judged": 6,
        "not_judged": 3,
        "in_target": 3,
        "in_target_share": 0.5,
        "not_sure": 0,
        "others": {"es": 2, "en": 1},
    }
    nothing = report([shard(message("a", status="failed"))], "pt")["total"]["language"]
    assert (nothing["judged"], nothing["in_target_share"]) == (0, None)


@pytest.mark.parametrize(
    ("text", "lang", "found"),
    [
        ("Katten lå og sov på trappen hele dagen fordi den var trøtt etter natten.", "nb", "nb"),
        ("猫因为很累，所以一整天都在家里的阳台上睡觉，晚上才醒。", "zh", "zh"),
        ("猫因为很累。", "zh", None),
        ("Ikati ilele imini yonke phambi kwendlu kuba ibidiniwe kakhulu namhlanje.", "xh", None),
    ],
)
def test_languages_with_other_codes_or_scripts_are_identified(text, lang, found):
    assert identify(text, lang) == found


def test_a_language_that_the_identifier_does_not_know_is_not_judged():
    figures = report([shard(message("a"))], "xh")
    assert figures["total"]["language"] is figures["by_source"]["en"]["language"] is None


MESSAGES = st.builds(
    message,
    st.uuids().map(str),
    st.sampled_from(["en", "es", "pt"]),
    st.sampled_from(STATUSES),
    st.sampled_from([PORTUGUESE, SPANISH, "Olá."]),
    route=st.sampled_from(ROUTES),
    reasons=st.lists(st.sampled_from(["empty", "no route", "cured: empty"]), unique=True),
    score=st.sampled_from([None, -0.5, -2.0]),
)


@given(st.lists(MESSAGES, max_size=15), st.integers(0, 15))
def test_everything_is_counted_once(messages, cut):
    figures = report([shard(*messages[:cut]), shard(*messages[cut:])], "pt")
    assert figures == report([shard(*messages)], "pt")
    groups = list(figures["by_source"].values())
    assert figures["total"]["messages"] == len(messages) == sum(group["messages"] for group in groups)
    for group in [figures["total"], *groups]:
        assert group["messages"] == sum(group["status"].values()) == sum(group["route"].values())
        written = sum(group["status"][status] for status in ("translated", "answered", "flagged"))
        assert written == sum(group["model"].values())
        language = group["language"]
        assert written == language["judged"] + language["not_judged"]
        assert language["judged"] == language["in_target"] + language["not_sure"] + sum(language["others"].values())
        # What a teacher wrote is not measured beside the reply that it replaces.
        measured = group["length_ratio"]["messages"]
        assert measured == sum(group["length_ratio"]["bytes"]["histogram"] or [])
        assert measured == group["score"]["messages"] + group["score"]["without"]
    by_models = [one for one in messages if one["status"] in ("translated", "answered", "flagged")]
    translated = [one for one in by_models if one["route"] != "teacher"]
    assert figures["total"]["length_ratio"]["messages"] == len(translated)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_quantiles_rise_within_the_values(values):
    figures = distribution(values, [-1.0, 0.0, 1.0])
    quantiles = list(figures["quantiles"].values())
    assert quantiles == sorted(quantiles)
    assert min(values) - 1e-4 <= quantiles[0] and quantiles[-1] <= max(values) + 1e-4
    assert figures["histogram"][0] == sum(value < -1 for value in values)
    assert sum(figures["histogram"]) == len(values)


def many(languages):
    """Return a report on this number of source languages, the first of which has the most messages."""
    codes = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(languages)]
    messages = [
        message(
            f"{code}{i}",
            code,
            "flagged" if i % 3 else "translated",
            SPANISH if i % 4 else PORTUGUESE,
            reasons=[f"reason {i % 15}"] if i % 3 else ["cured: empty"],
            score=-i / 10,
        )
        for number, code in enumerate(codes)
        for i in range(languages - number)
    ]
    return report([shard(*messages)], "pt")


@pytest.mark.costly
@pytest.mark.parametrize("languages", [0, 1, 35])
@pytest.mark.parametrize("plot", quality_plots.PLOTS)
def test_plots_name_every_source_language(tmp_path, plot, languages):
    figures = many(languages)
    quality_plots.draw(plot, figures, "Portuguese", tmp_path / "plot.svg")
    svg = (tmp_path / "plot.svg").read_text()
    assert svg.startswith("<?xml") and "Portuguese" in svg
    places = [svg.find(f">{code}</text>") for code in figures["by_source"]]
    assert -1 not in places and places == sorted(places)
    assert (">all</text>" in svg) == (languages == 35 or (languages == 0 and plot == "statuses"))


@pytest.mark.parametrize("plot", quality_plots.PLOTS)
def test_a_name_is_not_rendered_as_a_formula(tmp_path, plot):
    """A dollar sign starts mathematical text in a plot, and invalid mathematical text raises an error."""
    figures = many(2)
    figures["by_source"]["$a_b$"] = figures["by_source"].pop(next(iter(figures["by_source"])))
    quality_plots.draw(plot, figures, "Odd $^^$ <b>", tmp_path / "plot.svg")
    svg = (tmp_path / "plot.svg").read_text()
    assert "Odd $^^$ &lt;b&gt;" in svg and ">$a_b$</text>" in svg


@pytest.mark.parametrize(
    ("plot", "lang", "says"),
    [
        ("scores", "pt", "no scores: this engine gives none"),
        ("reasons", "pt", "no objections"),
        ("languages", "xh", "not measurable: lid.176 does not know Xhosa"),
    ],
)
def test_a_plot_without_data_states_the_reason(tmp_path, plot, lang, says):
    quality_plots.draw(plot, report([shard(message("a"))], lang), "Xhosa", tmp_path / "plot.svg")
    assert says in (tmp_path / "plot.svg").read_text()


def combine(folder, *options, seed="1"):
    done = subprocess.run(
        [sys.executable, "scripts/combine.py", "--shards", folder / "en.parquet", folder / "es.parquet",
         "--counts", folder / "counts.json", "--target", "pt", "--name", "Portuguese", "--source", "sample",
         "--output", folder / "dataset", *options],
        capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "dataset").rglob("*") if p.is_file()}


@pytest.mark.costly
def test_combine_writes_the_report_the_plots_and_the_card(tmp_path):
    loop = message("b", status="flagged", reasons=["repetition"])
    write(shard(message("a"), loop, message("c", text=SPANISH)), tmp_path / "en.parquet")
    write(shard(message("d", "es", "failed", reasons=["no route"])), tmp_path / "es.parquet")
    counts = {
        code: {"messages": n, "excluded_because": {"language": 0, "scope": 0}} for code, n in (("en", 3), ("es", 1))
    }
    (tmp_path / "counts.json").write_text(json.dumps({"train": counts, "validation": {}}))
    files = combine(tmp_path, "--on-flagged", "drop")
    assert set(files) == {"dataset/train.parquet", "dataset/validation.parquet", "dataset/README.md"} | {
        "dataset/accounting.json", "dataset/quality.json"} | {f"dataset/quality/{p}.svg" for p in quality_plots.PLOTS}  # fmt: skip
    quality = json.loads(files["dataset/quality.json"])
    assert quality["by_source"]["en"]["status"]["flagged"] == 1, "dropped from the dataset, not from the report"
    card = files["dataset/README.md"].decode()
    assert "- objections (messages): no route 1, repetition 1" in card
    assert "- language: 66.7% of the 3 translations long enough to judge are in Portuguese; others: es 1" in card
    assert "](quality/statuses.svg)" in card
    assert combine(tmp_path, "--on-flagged", "drop", seed="2") == files
