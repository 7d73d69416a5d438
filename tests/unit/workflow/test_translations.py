"""Tests of what the rules use of translations: engines, models, options, GPUs for each language pair."""

from types import SimpleNamespace

import pytest

from mothertongue.common.errors import UserError
from mothertongue.workflow import settings
from mothertongue.workflow.configuration import lay_over
from mothertongue.workflow.places import Places
from mothertongue.workflow.translations import Translations

FALLBACK = {"fallback": "nllb", "allow_noncommercial": True}


class Wildcards(SimpleNamespace):
    def keys(self):
        return vars(self).keys()

    def __getitem__(self, key):
        return getattr(self, key)


def translations(**values):
    return Translations(lay_over(settings.defaults(), {"translation": values}), Places())


def wildcards(source, lang=None):
    return Wildcards(results="r", source=source, shard="0", **({"lang": lang} if lang else {}))


def test_a_shard_has_the_engines_and_options_of_its_languages():
    both = translations(**FALLBACK)
    assert both.engines_of(wildcards("en", "nl")) == ["opus-mt", "nllb"]
    assert both.engines_of(wildcards("nl", "nl")) == [] and both.options(wildcards("nl", "nl")) == []
    options = both.options(wildcards("en", "nl"))
    assert options[0] == "--engine=opus-mt"
    assert both.model(wildcards("en", "nl")) == ["r/models/translation/Helsinki-NLP--opus-mt-en-nl"]
    assert "--fallback-engine=nllb" in options and "--fallback-target-code=nld_Latn" in options
    assert "--beam-size=1" in options and "--score=-1.5" in options
    assert not [option for option in options if option.startswith("--prompt")]
    assert [
        option for option in translations(engine="llm", **FALLBACK).options(wildcards("en", "nl")) if "prompt" in option
    ]


def test_two_models_of_one_engine_have_compared_roles():
    """Snakemake compares them as inputs by their paths alone."""

    def two(first, second, **values):
        fallback = {"engine": "nllb", "model": second}
        return translations(engine="nllb", model=first, fallback=fallback, allow_noncommercial=True, **values)

    one, swapped = (two(*models).roles(wildcards("en", "nl")) for models in (("a/a", "b/b"), ("b/b", "a/a")))
    assert one == ["a/a", "b/b"] and swapped == ["b/b", "a/a"]
    assert two("a/a", "b/b").roles(wildcards("nl", "nl")) == []
    # The options name both engines: results that exist stay up to date.
    assert translations(**FALLBACK).roles(wildcards("en", "nl")) == []


def test_a_multilingual_model_is_given_the_codes_of_third_languages():
    nllb = translations(engine="nllb", allow_noncommercial=True)
    others = [option for option in nllb.options(wildcards("en", "nl")) if option.startswith("--other-code=")]
    assert "--other-code=de=deu_Latn" in others and len(others) > 50
    assert not [option for option in others if option.startswith(("--other-code=en=", "--other-code=nl="))]
    assert not [option for option in translations().options(wildcards("en", "nl")) if "--other-code" in option]


def judged(**quality):
    return Translations(lay_over(settings.defaults(), {"quality": quality}), Places())


def test_an_estimators_model_is_fetched_and_used_in_an_environment_with_transformers():
    labse = judged(meaning="labse", meaning_threshold=0.7)
    folder = "r/models/meaning/setu4993--LaBSE"
    assert labse.estimator(wildcards("en", "nl")) == [folder] and labse.estimator(wildcards("nl", "nl")) == []
    assert "--meaning=labse" in labse.options(wildcards("en", "nl")) and labse.environment == "generation"
    inputs = SimpleNamespace(model=["m"], fallback=[], estimator=[folder])
    assert labse.model_options(None, inputs) == ["--model=m", f"--meaning-model={folder}"]
    assert labse.estimator_models == {"setu4993--LaBSE": "setu4993/LaBSE"}
    assert labse.estimator(wildcards("en", "ps")) == []  # a language that it does not know
    own = judged(meaning="labse", meaning_threshold=0.7, meaning_model="a/b")
    assert own.estimator_models == {"a--b": "a/b"}
    use = judged(meaning="use")
    assert use.estimator(wildcards("en", "nl")) == [] and use.estimator_models == {}
    assert use.environment == "translation" and "--meaning=use" in use.options(wildcards("en", "nl"))


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        ({"meaning": "labse"}, "labse has no threshold of its own"),
        ({"meaning": "use", "meaning_model": "a/b"}, "meaning_model is the model of quality.meaning: labse"),
        ({"meaning_model": "a/b"}, "meaning_model is the model of quality.meaning: labse"),
    ],
)
def test_incomplete_settings_of_an_estimator_are_refused(quality, message):
    with pytest.raises(UserError, match=message):
        judged(**quality)


def test_languages_without_a_direct_model_are_translated_through_english():
    one = translations()
    pivot = next(
        source
        for source in settings.defaults()["source"]["languages"]
        if one.route(wildcards(source, "nl")).kind == "pivot"
    )
    assert one.languages_between(wildcards(pivot, "nl")) == ("en", "nl")
    assert one.languages_between(wildcards(pivot)) == (pivot, "en")
    assert len(one.models_into(Wildcards(results="r", lang="nl"), [pivot])) == 2


def test_a_shard_depends_on_the_modules_of_its_own_engines():
    both = translations(**FALLBACK)
    modules = both.library("translate")
    assert any(path.endswith("engines/nllb.py") for path in modules(wildcards("en", "nl")))
    assert not any("engines/nllb" in path or "engines/opus_mt" in path for path in modules(wildcards("nl", "nl")))


def test_only_jobs_that_can_use_a_gpu_request_one():
    assert translations().gpus(wildcards("en", "nl"), grouped=False) == 1
    assert translations().gpus(wildcards("nl", "nl"), grouped=False) == 0
    assert translations().gpus(wildcards("nl", "nl"), grouped=True) == 1
    assert translations(device="cpu").gpus(wildcards("en", "nl"), grouped=True) == 0


def test_impossible_settings_of_engines_are_refused():
    with pytest.raises(UserError, match="the firefox engine runs on CPUs only; set it to auto"):
        translations(engine="firefox", device="cuda")
    with pytest.raises(UserError, match="allow_noncommercial"):
        translations(engine="nllb")
