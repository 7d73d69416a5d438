"""Find routes: the steps from each source language to the target language."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.languages import ENGLISH, OTHER_SCRIPTS, Language, nearest_language
from mothertongue.common.tsv import Tables
from mothertongue.translation import engines
from mothertongue.translation.engines.base import LanguagePair, LanguagePairs

# The engine whose model is that of `translation.endpoint`, and which fetches none.
ENDPOINT = "endpoint"


@dataclass(frozen=True)
class Route:
    """A route of kind native, script, direct, multilingual, pivot or none.

    `last` is the step into the target language, `first` the step into English before it.
    """

    kind: str
    last: LanguagePair | None = None
    first: LanguagePair | None = None


def find_route(source: str, target: str, pairs: LanguagePairs, one_step: str = "direct") -> Route:
    """Return the best route from `source` to `target`: native, else in one step, else through English, else none.

    Between two scripts of one language it is script: the text is converted.

    `one_step` is the engine's kind of route, direct or multilingual.
    """
    if source == target:
        return Route("native")
    if (source, target) in pairs:
        return Route(one_step, pairs[source, target])
    if (source, target) in OTHER_SCRIPTS:
        return Route("script")
    if (source, ENGLISH) in pairs and (ENGLISH, target) in pairs:
        return Route("pivot", pairs[ENGLISH, target], first=pairs[source, ENGLISH])
    return Route("none")


def engine_settings(translation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the engines of the configuration's `translation`: the first, and the second where there is one.

    Each has the keys engine, model and models; the model of the endpoint engine is the endpoint's. Raise UserError
    where both `engines` and `fallback` name a second one, or the endpoint engine has a model of its own.
    """
    own = {name: translation[name] for name in ("model", "models")}
    first, second = translation["engine"], translation["fallback"]
    if translation["engines"]:
        if second:
            raise UserError("translation.engines and translation.fallback both name a second engine; give one of them")
        first, second = translation["engines"]
    defaults = [own, {"model": None, "models": {}}]
    found = [
        given | ({"engine": named} if isinstance(named, str) else named)
        for given, named in zip(defaults, (first, second), strict=True)
        if named
    ]
    for one in (one for one in found if one["engine"] == ENDPOINT):
        if one["model"]:
            raise UserError(f"model '{one['model']}': the model of the endpoint engine is translation.endpoint.model")
        one["model"] = translation["endpoint"]["model"]
    return found


def translation_pairs(settings: Mapping[str, Any], tables: Tables) -> LanguagePairs:
    """Return an engine's language pairs: those of its tables, overridden by the configuration's models.

    Those between two scripts of one language are the configuration's alone: without them the text is converted.
    Raise UserError for an unknown engine, or a `model` where the engine has one for each pair.
    """
    engine = engines.find(settings["engine"])
    multilingual = engine.MODEL is not None
    if settings["model"] and not multilingual:
        raise UserError(f"translation.model: {settings['engine']} has a model for each pair; use translation.models")
    pairs = _override(engine.pairs(tables, settings["model"]), settings["models"], inherit=multilingual)
    named = set(map(parse_pair, settings["models"]))
    return {pair: model for pair, model in pairs.items() if pair in named or pair not in OTHER_SCRIPTS}


def check_languages(config: Mapping[str, Any], languages: dict[str, Language]) -> None:
    """Raise UserError where a configuration has a language missing in the table, or a pair of one language."""
    sources = {"source": config["source"]} | {f"sources.{name}": keys for name, keys in config["sources"].items()}
    named = [
        (f"{key}.{what}", code)
        for key, keys in sources.items()
        for what in ("languages", "shards")
        for code in keys.get(what, ())
    ]
    mixes = {"mix": config["mix"]} | {
        f"variants.{name}.mix": keys.get("mix", {}) for name, keys in config["variants"].items()
    }
    named += [
        (f"{key}.replay.languages", code)
        for key, mix in mixes.items()
        for code in (mix.get("replay") or {}).get("languages", ())
    ]
    for settings in engine_settings(config["translation"]):
        for name in settings["models"]:
            if len(pair := set(parse_pair(name))) == 1:
                raise UserError(f"translation.models: '{name}' goes from a language to itself")
            named += [(f"translation.models '{name}'", code) for code in sorted(pair)]
    for where, code in named:
        if code not in languages:
            near = nearest_language(code, languages)
            raise UserError(f"{where}: unknown language '{code}'{near}; config/languages.tsv lists all")


def parse_pair(name: str) -> tuple[str, str]:
    """Return the languages of a pair such as en-nl; zh-Hant keeps its hyphen."""
    source, target = re.split("-(?=[a-z])", name)
    return source, target


def _override(
    pairs: LanguagePairs, models: Mapping[str, str | Mapping[str, str] | None], inherit: bool
) -> LanguagePairs:
    """Return the pairs overridden by `translation.models`: {"en-pt": reference or {model, target_token}}.

    None removes a pair. A model that is already the engine's for the pair keeps its codes; with `inherit` every model
    does, as in multilingual engines, whose models share them.
    """
    result = dict(pairs)
    for name, value in models.items():
        key = parse_pair(name)
        own = result.pop(key, LanguagePair(""))
        if value is None:
            continue
        given = {"model": value} if isinstance(value, str) else value
        same = given["model"] == own.model
        codes = own if same or inherit else LanguagePair("")
        result[key] = LanguagePair(
            given["model"],
            given.get("source_token", codes.source_code),
            given.get("target_token", codes.target_code),
            own.licence if same else "",
        )
    return result
