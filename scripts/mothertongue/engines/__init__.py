"""Translation engines: one module each, named after the engine, its class in ENGINE. A new module is a new engine."""

import difflib
import pkgutil
from importlib import import_module

from mothertongue.engine import Engine
from mothertongue.errors import UserError

NAMES = sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def find(name: str) -> type[Engine]:
    """The class of an engine; its packages are imported when it is used. Raises UserError for an unknown name."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        raise UserError(f"unknown translation engine '{name}'{hint} (known: {', '.join(NAMES)})")
    return import_module(f"{__name__}.{name.replace('-', '_')}").ENGINE
