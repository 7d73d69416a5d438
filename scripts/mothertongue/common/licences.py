"""Licences: rejecting non-commercial ones unless the user allows them, and naming them in a card's header."""

import re
from collections.abc import Iterable

from mothertongue.common.errors import UserError

# Licences of programs that translate without a model, by the names that messages have for them.
TOOLS = {"opencc": "apache-2.0"}
_NONCOMMERCIAL = re.compile(r"(^|[^a-z])nc([^a-z]|$)|non-?commercial", re.IGNORECASE)

# The hub's licence ids for models and datasets; all other licences have the id `other` and a `license_name`.
_HUB_IDS = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause
    bsd-3-clause bsl-1.0 cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0
    cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m ecl-2.0
    epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 llama2 llama3
    llama3.1 llama3.2 llama3.3 llama4 mit mpl-2.0 ms-pl odbl odc-by openrail openrail++ osl-3.0 pddl postgresql
    unlicense unknown wtfpl zlib
"""


def header(found: Iterable[str | None], one: bool = False) -> dict[str, str | list[str]]:
    """Return the licences of the sources as the `license` field of a card's header; unknown where none is stated.

    `one` is for models, for which the hub accepts a single licence: several are joined to a `license_name`.
    """
    names = list(dict.fromkeys(name.lower() for licence in found if licence for name in licence.split(", ")))
    strange = [name for name in names if name not in _HUB_IDS.split()]
    if strange or (one and len(names) > 1):
        name = re.sub(r"[^a-z0-9.-]+", "-", "-and-".join(names)).strip("-")
        return {"license": "other", "license_name": name or "unnamed"}
    return {"license": names[0] if len(names) == 1 else names or "unknown"}


def is_noncommercial(licence: str | None) -> bool:
    """Return whether the name of a licence forbids commercial use, such as cc-by-nc-4.0."""
    return bool(licence and _NONCOMMERCIAL.search(licence))


def check(licence: str | None, model: str) -> None:
    """Raise UserError where a model's licence forbids commercial use, which applies to the model's output too."""
    if is_noncommercial(licence):
        raise UserError(
            f"the licence of {model} ({licence}) forbids commercial use; "
            "set translation.allow_noncommercial to true (by hand: --allow-noncommercial) to use it all the same"
        )
