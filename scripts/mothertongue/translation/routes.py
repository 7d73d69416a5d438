"""Routes: how the messages of one source language reach the target language."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.languages import ENGLISH, Language, nearest_language
from mothertongue.translation import engines
from mothertongue.translation.engines.base import LanguagePair, LanguagePairs


@dataclass(frozen=True)
class Route:
    """`kind` is native, direct, multilingual, pivot or none; `last` reaches the target, `first` English before it."""

    kind: str
    last: LanguagePair | None = None
    first: LanguagePair | None = None


def find_route(source: str, target: str, pairs: LanguagePairs, one_step: str = "direct") -> Route:
    """The best route from `source` to `target`: native, else in one step, else through English, else none.

    `one_step` is what the engine calls its own kind of route, direct or multilingual.
    """
    if source == target:
        return Route("native")
    if (source, target) in pairs:
        return Route(one_step, pairs[source, target])
    if (source, ENGLISH) in pairs and (ENGLISH, target) in pairs:
        return Route("pivot", pairs[ENGLISH, target], first=pairs[source, ENGLISH])
    return Route("none")


def engine_settings(translation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The engines of the configuration's `translation`, the first and the fallback where there is one.

    Each has the keys engine, model and models.
    """
    first = {name: translation[name] for name in ("engine", "model", "models")}
    fallback = translation["fallback"]
    if not fallback:
        return [first]
    given = {"engine": fallback} if isinstance(fallback, str) else fallback
    return [first, {"model": None, "models": {}} | given]


def translation_pairs(settings: Mapping[str, Any], tables: Path) -> LanguagePairs:
    """How an engine translates each pair: its own tables, then the models of the configuration.

    Raises UserError for an unknown engine, or a `model` where the engine has one for each pair.
    """
    engine = engines.find(settings["engine"])
    multilingual = engine.MODEL is not None
    if settings["model"] and not multilingual:
        raise UserError(f"translation.model: {settings['engine']} has a model for each pair; use translation.models")
    return _override(engine.pairs(tables, settings["model"]), settings["models"], inherit=multilingual)


def check_languages(config: Mapping[str, Any], languages: dict[str, Language]) -> None:
    """Raise UserError where a configuration names a language that is not in the table of languages."""
    source = config["source"]
    named = [("source.languages", code) for code in source["languages"]]
    named += [("source.shards", code) for code in source["shards"]]
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
    """The languages of a pair such as en-nl; zh-Hant keeps its hyphen."""
    source, target = re.split("-(?=[a-z])", name)
    return source, target


def _override(
    pairs: LanguagePairs, models: Mapping[str, str | Mapping[str, str] | None], inherit: bool
) -> LanguagePairs:
    """The pairs with those of `translation.models` laid over: {"en-pt": reference or {model, target_token}}.

    None takes a pair away. A model that the engine has for the pair anyway keeps its codes. With `inherit` every model
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
