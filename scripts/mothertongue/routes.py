"""Routes: how the messages of one source language reach the target language."""

from collections.abc import Mapping
from dataclasses import dataclass

ENGLISH = "en"


@dataclass(frozen=True)
class Route:
    """`kind` is native, direct, pivot or none; `model` translates into the target, `first` into English before it."""

    kind: str
    model: str | None = None
    first: str | None = None


def find_route(source: str, target: str, models: Mapping[tuple[str, str], str]) -> Route:
    """The best route from `source` to `target`: native, else direct, else through English, else none.

    `models` maps (source, target) to a model reference.
    """
    if source == target:
        return Route("native")
    if (source, target) in models:
        return Route("direct", models[source, target])
    if (source, ENGLISH) in models and (ENGLISH, target) in models:
        return Route("pivot", models[ENGLISH, target], first=models[source, ENGLISH])
    return Route("none")


def parse_pairs(pairs: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """The pairs of `translation.models` ("en-pt": reference) by (source, target); zh-Hant keeps its hyphen."""
    return {tuple(pair.split("-", 1)): model for pair, model in pairs.items()}
