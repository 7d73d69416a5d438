"""Estimators of a translation's meaning: one module each, named after the estimator, with its class in ESTIMATOR.

To add an estimator, add a module, and its name to `quality.meaning` in translation/settings.py.
"""

import pkgutil
from importlib import import_module

from mothertongue.translation.estimators.base import Estimator

NAMES = sorted(found.name.replace("_", "-") for found in pkgutil.iter_modules(__path__) if found.name != "base")


def find(name: str) -> type[Estimator]:
    """Return the class of an estimator; its packages are imported at use."""
    return import_module(f"{__name__}.{name.replace('-', '_')}").ESTIMATOR


def no_threshold(name: str) -> str:
    """Return the error for an estimator that needs a calibration and has none."""
    return (
        f"quality.meaning: {name} has no threshold of its own; scripts/calibrate_quality.py finds one for a pair of "
        "languages: set quality.meaning_threshold"
    )


def module(name: str) -> str:
    """Return the module of an estimator, a path below the library without suffix, since it is imported dynamically."""
    return f"{__name__.removeprefix('mothertongue.').replace('.', '/')}/{name.replace('-', '_')}"
