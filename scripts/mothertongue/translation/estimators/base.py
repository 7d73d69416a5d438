"""The interface of estimators, which tell how well a translation says what its source says."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class Estimator(ABC):
    """A model that compares the meaning of two texts; the same texts get the same score on one machine.

    The class attributes are read in planning the workflow; only the constructor loads a model.
    """

    # The languages that it knows.
    LANGUAGES: ClassVar[frozenset[str]]
    # The score below which a translation is taken as wrong, without a calibration for the pair of languages; None where
    # a calibration is needed.
    THRESHOLD: ClassVar[float | None]
    # The default reference of the model that it needs; None where the weights are in a package.
    MODEL: ClassVar[str | None] = None
    # The environment of envs/ that it runs in; None where that of the engine has what it needs.
    ENVIRONMENT: ClassVar[str | None] = None
    # The memory that it takes in MB.
    MEMORY_MB: ClassVar[int]

    @abstractmethod
    def __init__(self, workers: int, model: Path | None = None, device: str = "auto") -> None:
        """Load the model, to compute with so many threads.

        `model` is the folder of one that is fetched, `device` the one of the translation: cpu, cuda or auto.
        """

    @abstractmethod
    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the score of each pair of source and translation: 1 is the same meaning, about 0 none in common."""
