"""Format the routes into a language as a table."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.licences import is_noncommercial
from mothertongue.common.text_table import aligned
from mothertongue.formats.messages import SPLITS
from mothertongue.translation import engines
from mothertongue.translation.engines.base import LanguagePairs
from mothertongue.translation.routes import Route, find_route


def messages_by_language(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return the messages of each source language over all splits, from the counts.json of scripts/split.py.

    Raise UserError where `counts` has another structure.
    """
    total: Counter[str] = Counter()
    try:
        for of_source in counts["sources"].values() if "sources" in counts else [counts]:
            for split in SPLITS:
                total.update({language: entry["messages"] for language, entry in of_source[split].items()})
    except (AttributeError, KeyError, TypeError):
        raise UserError("--counts: not the counts.json that scripts/split.py writes") from None
    return dict(total)


def table(engine: str, target: str, languages: Sequence[str], pairs: LanguagePairs, messages: Mapping[str, int]) -> str:
    """Return one line per source language, most messages first, and the share of messages of each kind of route."""
    one_step = engines.find(engine).ROUTE
    routes = {language: find_route(language, target, pairs, one_step) for language in languages}
    total = max(sum(messages.get(language, 0) for language in languages), 1)
    shares = {language: messages.get(language, 0) / total for language in languages}
    order = sorted(languages, key=lambda language: -shares[language])
    rows = [["source", "messages", "route", "models"]]
    rows += [
        [language, f"{shares[language]:.2%}", routes[language].kind, _models(routes[language])] for language in order
    ]
    kinds: dict[str, float] = defaultdict(float)
    for language, route in routes.items():
        kinds[route.kind] += shares[language]
    summary = ", ".join(f"{kind} {share:.2%}" for kind, share in sorted(kinds.items(), key=lambda item: -item[1]))
    return "\n".join(
        [f"{engine}, into {target}:", *aligned(rows, left={0, 2, 3}), f"share of the messages: {summary}", ""]
    )


def _models(route: Route) -> str:
    """Return the models of a route in order of use, each with its target token and whether it is non-commercial."""
    found = []
    for pair in (route.first, route.last):
        if pair:
            token = f" {pair.target_code}" if pair.target_code else ""
            found.append(pair.model + token + (" (non-commercial)" if is_noncommercial(pair.licence) else ""))
    return " + ".join(found)
