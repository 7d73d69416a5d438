"""Routes: how the messages of one source language reach the target language."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mothertongue.engine import Pair, Pairs

ENGLISH = "en"


@dataclass(frozen=True)
class Route:
    """`kind` is native, direct, multilingual, pivot or none; `last` reaches the target, `first` English before it."""

    kind: str
    last: Pair | None = None
    first: Pair | None = None


def find_route(source: str, target: str, pairs: Pairs, one_step: str = "direct") -> Route:
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


def override(pairs: Pairs, models: Mapping[str, str | Mapping[str, str]], inherit: bool) -> Pairs:
    """The pairs with those of `translation.models` laid over: {"en-pt": reference or {model, target_token}}.

    A model that the engine has for the pair anyway keeps its codes. With `inherit` every model does, as in
    multilingual engines, whose models share them.
    """
    result = dict(pairs)
    for name, value in models.items():
        given = {"model": value} if isinstance(value, str) else value
        key = parse_pair(name)
        own = pairs.get(key, Pair(""))
        same = given["model"] == own.model
        codes = own if same or inherit else Pair("")
        result[key] = Pair(
            given["model"],
            given.get("source_token", codes.source_code),
            given.get("target_token", codes.target_code),
            own.licence if same else "",
        )
    return result


def parse_pair(name: str) -> tuple[str, str]:
    """The languages of a pair such as en-nl; zh-Hant keeps its hyphen."""
    source, target = re.fullmatch(r"([a-z]+(?:-[A-Z]\w+)?)-([a-z]+(?:-[A-Z]\w+)?)", name).groups()
    return source, target
