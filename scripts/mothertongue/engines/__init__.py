"""Translation engines: one module each, with a class that has the methods of Engine."""

from importlib import import_module
from pathlib import Path
from typing import Protocol

from mothertongue.errors import UserError

# The engines that the configuration may name, and the class of each that runs.
CLASSES = {"firefox": "mothertongue.engines.firefox:FirefoxEngine"}
PLANNED = ("opus-mt",)


class Engine(Protocol):
    """Translates segments from one language to another with one loaded model."""

    def translate(self, segments: list[str]) -> list[str]:
        """The translation of each segment, in order; an empty text where the model gives none."""

    def close(self) -> None:
        """Release processes and memory."""

    @staticmethod
    def check_model(folder: Path) -> None:
        """Raise UserError where a fetched folder holds no model of this engine."""


def check(name: str) -> None:
    """Raise UserError where an engine cannot run."""
    if name not in CLASSES:
        state = "is not available yet" if name in PLANNED else "is unknown"
        raise UserError(f"translation.engine '{name}' {state}; set it to one of: {', '.join(CLASSES)}")


def find_class(name: str) -> type:
    """The class of an engine; its packages are imported only now. Raises UserError where it cannot run."""
    check(name)
    module, _, attribute = CLASSES[name].partition(":")
    return getattr(import_module(module), attribute)


def load(name: str, model: Path, workers: int) -> Engine:
    """Load an engine with the model folder that fetch_translation_model made, on `workers` processes or threads."""
    return find_class(name)(model, workers)
