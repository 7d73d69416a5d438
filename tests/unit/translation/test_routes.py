"""Tests of routes: the model for each language pair, from the tables of config/ and the user's configuration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mothertongue.common.errors import UserError
from mothertongue.common.languages import read_languages
from mothertongue.common.licences import check, is_noncommercial
from mothertongue.models import fetching, references
from mothertongue.translation import engines, routes
from mothertongue.translation.engines.base import Engine, LanguagePair
from mothertongue.translation.routes import Route, find_route

TABLES = Path("config")
LANGUAGES = set(read_languages(TABLES / "languages.tsv"))


def pairs_of(engine, model=None, **models):
    models = {name.replace("_", "-"): value for name, value in models.items()}
    return routes.translation_pairs({"engine": engine, "model": model, "models": models}, TABLES.joinpath)


def test_routes_are_chosen_in_order_of_preference():
    pairs = {
        pair: LanguagePair("-".join(pair))
        for pair in [("es", "nl"), ("th", "en"), ("en", "nl"), ("en", "zh-Hant"), ("es", "en")]
    }
    assert find_route("nl", "nl", pairs) == Route("native")
    assert find_route("es", "nl", pairs) == Route("direct", LanguagePair("es-nl"))
    assert find_route("es", "nl", pairs, "multilingual") == Route("multilingual", LanguagePair("es-nl"))
    assert find_route("th", "nl", pairs) == Route("pivot", LanguagePair("en-nl"), first=LanguagePair("th-en"))
    assert find_route("th", "zh-Hant", pairs) == Route("pivot", LanguagePair("en-zh-Hant"), first=LanguagePair("th-en"))
    assert find_route("ko", "nl", pairs) == Route("none")
    # Through English a text of the other script would be another one.
    both = {("zh", "en"): LanguagePair("zh-en"), **pairs}
    assert find_route("zh", "zh-Hant", both) == find_route("zh-Hant", "zh", both) == Route("script")
    named = both | {("zh", "zh-Hant"): LanguagePair("mine")}
    assert find_route("zh", "zh-Hant", named) == Route("direct", LanguagePair("mine"))


@pytest.mark.parametrize("name", engines.NAMES)
def test_only_a_named_model_translates_between_two_scripts_of_a_language(name):
    scripts = {("zh", "zh-Hant"), ("zh-Hant", "zh")}
    assert not scripts & pairs_of(name).keys()
    named = routes.translation_pairs(
        {"engine": name, "model": None, "models": {"zh-zh-Hant": "me/mine"}}, TABLES.joinpath
    )
    assert scripts & named.keys() == {("zh", "zh-Hant")}
    if engines.find(name).ROUTE == "multilingual" and ("en", "zh-Hant") in named:
        assert named["zh", "zh-Hant"].target_code == named["en", "zh-Hant"].target_code


@pytest.mark.parametrize("name", engines.NAMES)
def test_every_engine_has_pairs_of_known_languages(name):
    engine = engines.find(name)
    pairs = pairs_of(name)
    assert issubclass(engine, Engine) and len(pairs) > 60
    assert {language for pair in pairs for language in pair} <= LANGUAGES
    assert ("en", "nl") in pairs and all(source != target for source, target in pairs)
    assert Path(f"envs/{engine.ENVIRONMENT}.yaml").is_file()
    if engine.ROUTE == "multilingual":
        assert {pair.model for pair in pairs.values()} == {engine.MODEL}
        assert name == "endpoint" or all(pair.licence for pair in pairs.values())
        other = pairs_of(name, model="owner/other")["en", "nl"]
        assert (other.model, other.target_code, other.licence) == ("owner/other", pairs["en", "nl"].target_code, "")


def test_models_get_the_right_language_codes():
    assert pairs_of("opus-mt")["en", "pt"].target_code == ">>por<<"
    assert pairs_of("opus-mt")["en", "nl"] == LanguagePair("Helsinki-NLP/opus-mt-en-nl", licence="apache-2.0")
    codes = {
        name: (pair.source_code, pair.target_code) for name in engines.NAMES for pair in [pairs_of(name)["en", "nl"]]
    }
    assert codes == {
        "firefox": ("", ""),
        "llm": ("English", "Dutch"),
        "endpoint": ("English", "Dutch"),
        "m2m100": ("__en__", "__nl__"),
        "madlad400": ("", "<2nl>"),
        "mbart50": ("en_XX", "nl_XX"),
        "nllb": ("eng_Latn", "nld_Latn"),
        "opus-mt": ("", ""),
        "seamless-m4t": ("eng", "nld"),
    }


def test_configured_models_take_precedence():
    same = pairs_of("opus-mt", en_pt="Helsinki-NLP/opus-mt-tc-big-en-pt")["en", "pt"]
    assert same == pairs_of("opus-mt")["en", "pt"]
    other = pairs_of("opus-mt", en_pt="me/my-model")["en", "pt"]
    assert other == LanguagePair("me/my-model")
    told = pairs_of("opus-mt", en_pt={"model": "me/my-model", "target_token": ">>pob<<"})["en", "pt"]
    assert told == LanguagePair("me/my-model", target_code=">>pob<<")
    assert ("en", "pt") not in pairs_of("opus-mt", en_pt=None)
    tuned = pairs_of("nllb", en_pt="me/my-nllb")["en", "pt"]
    assert (tuned.model, tuned.source_code, tuned.target_code) == ("me/my-nllb", "eng_Latn", "por_Latn")
    assert routes.parse_pair("en-zh-Hant") == ("en", "zh-Hant") and routes.parse_pair("zh-Hant-en") == ("zh-Hant", "en")


def test_a_pair_that_ends_with_a_line_break_is_refused():
    translation = {"engine": "opus-mt", "model": None, "models": {"en-nl\n": "a/b"}, "fallback": None, "engines": []}
    empty = {"sources": {}, "mix": {"replay": None}, "variants": {}}
    config = {"source": {"languages": [], "shards": {}}, "translation": translation} | empty
    with pytest.raises(UserError, match=r"translation.models 'en-nl\n': unknown language 'nl\n'"):
        routes.check_languages(config, read_languages(TABLES / "languages.tsv"))


def test_a_fallback_engine_may_be_a_name_or_a_mapping():
    translation = {"engine": "opus-mt", "model": None, "models": {"en-nl": "a/b"}, "fallback": "m2m100", "engines": []}
    first, second = routes.engine_settings(translation)
    assert first == {"engine": "opus-mt", "model": None, "models": {"en-nl": "a/b"}}
    assert second == {"engine": "m2m100", "model": None, "models": {}}
    translation["fallback"] = {"engine": "m2m100", "model": "facebook/m2m100_1.2B"}
    assert routes.engine_settings(translation)[1]["model"] == "facebook/m2m100_1.2B"
    translation["fallback"] = None
    assert routes.engine_settings(translation) == [first]
    translation["engines"] = ["firefox", {"engine": "m2m100", "model": "facebook/m2m100_1.2B"}]
    assert [one["engine"] for one in routes.engine_settings(translation)] == ["firefox", "m2m100"]
    translation["fallback"] = "nllb"
    with pytest.raises(UserError, match=r"translation.engines and translation.fallback both name a second engine"):
        routes.engine_settings(translation)


def test_unknown_engines_and_misplaced_models_are_refused():
    with pytest.raises(UserError, match="unknown translation engine 'opusmt', did you mean 'opus-mt'"):
        pairs_of("opusmt")
    with pytest.raises(
        UserError, match=r"translation.model: opus-mt has a model for each pair; use translation.models"
    ):
        pairs_of("opus-mt", model="a/b")


@pytest.mark.parametrize(
    ("header", "licence"),
    [
        ("license: mit", "mit"),
        ("license:\n- cc-by-nc-4.0\n- mit", "cc-by-nc-4.0, mit"),
        ("language: nl\nlicense: other\nlicense_name: nllb-non-commercial", "nllb-non-commercial"),
        ("language: nl", None),
        ("license: [unclosed", None),
    ],
)
def test_the_licence_is_read_from_the_card(tmp_path, header, licence):
    (tmp_path / "README.md").write_text(f"---\n{header}\n---\n# A model\nlicense: gpl\n")
    assert fetching.licence(references.parse(str(tmp_path))) == licence


def test_non_commercial_licences_must_be_allowed_explicitly():
    assert [is_noncommercial(name) for name in ("cc-by-nc-4.0", "CC-BY-NC-SA-4.0", "other-non-commercial")] == [
        True
    ] * 3
    assert not any(map(is_noncommercial, ("apache-2.0", "cc-by-4.0", "mit", "mpl-2.0", "gpl-3.0", "", None, "ncsa-x")))
    with pytest.raises(
        UserError, match=r"facebook/x \(cc-by-nc-4.0\) forbids commercial use; set translation.allow_non"
    ):
        check("cc-by-nc-4.0", "facebook/x")


def show(*arguments):
    return subprocess.run([sys.executable, "scripts/routes.py", *arguments], capture_output=True, text=True)


def test_the_program_prints_the_table_of_routes(tmp_path):
    done = show("nl")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[2:-2]}
    assert rows["en"] == ["44.83%", "direct", "Helsinki-NLP/opus-mt-en-nl"]
    assert rows["nl"] == ["0.39%", "native"]
    assert rows["ko"][1:] == ["pivot", "Helsinki-NLP/opus-mt-ko-en", "+", "Helsinki-NLP/opus-mt-en-nl"]
    assert "direct 86.28%, pivot 13.33%, native 0.39%" in done.stdout
    assert ">>por<<" in show("pt").stdout and "(non-commercial)" in show("nl", "--engine", "nllb").stdout
    mine = tmp_path / "mine.yaml"
    mine.write_text("source: {languages: [en, es]}\ntranslation: {fallback: m2m100, models: {en-nl: me/mine}}\n")
    counts = tmp_path / "counts.json"
    counts.write_text('{"train": {"en": {"messages": 3}, "es": {"messages": 1}}, "validation": {}}')
    done = show("nl", "--configfile", str(mine), "--counts", str(counts))
    assert "en        75.00%  direct  me/mine" in done.stdout and "m2m100, into nl:" in done.stdout
    own = json.loads(counts.read_text())
    # Of conversations, and of several sources.
    for other in (own | {"reading": {"rows": 3}}, {"sources": {"a": own, "b": own | {"reading": {"rows": 3}}}}):
        counts.write_text(json.dumps(other))
        assert show("nl", "--configfile", str(mine), "--counts", str(counts)).stdout == done.stdout
    assert show("klingon").stderr.startswith("routes.py: error: unknown target language 'klingon'")
