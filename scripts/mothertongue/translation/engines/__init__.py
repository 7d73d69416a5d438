"""Translation engines: one module each, named after the engine, with its class in ENGINE.

To add an engine, add a module.
"""

import difflib
import pkgutil
from importlib import import_module

from mothertongue.common.errors import UserError
from mothertongue.translation.engines.base import Engine

# Shared modules of several engines, and the package that fetches their models.
_SHARED = {"base", "ctranslate2", "transformers", "multilingual", "fetch"}
NAMES = sorted(found.name.replace("_", "-") for found in pkgutil.iter_modules(__path__) if found.name not in _SHARED)


def find(name: str) -> type[Engine]:
    """Return the class of an engine; its packages are imported at use. Raise UserError for an unknown name."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        raise UserError(f"unknown translation engine '{name}'{hint} (known: {', '.join(NAMES)})")
    return import_module(f"{__name__}.{name.replace('-', '_')}").ENGINE


def modules(name: str, fetched: bool = False) -> list[str]:
    """Return the module of an engine and, with `fetched`, the module that fetches its models.

    They are paths below the library, without suffix, since both are imported dynamically.
    """
    package = __name__.removeprefix("mothertongue.").replace(".", "/")
    names = [name.replace("-", "_"), *([f"fetch/{find(name).FETCH}"] if fetched else [])]
    return [f"{package}/{name}" for name in names]
