"""What a translation engine is: the interface that each module of engines/ fills, and the values that pass."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from mothertongue.translation.settings import EngineSettings


@dataclass(frozen=True)
class LanguagePair:
    """How an engine gets from one language to another.

    `model` is a model reference; the codes are what the model calls the two languages (for OPUS-MT the target token),
    empty where it needs none. `licence` is the model's, empty where it is not known before it is fetched.
    """

    model: str
    source_code: str = ""
    target_code: str = ""
    licence: str = ""


LanguagePairs = dict[tuple[str, str], LanguagePair]


class Output(NamedTuple):
    """The translation of a segment.

    `score` is the mean log-probability of its tokens where the engine has it; `complete` is false where the model was
    stopped before it came to an end.
    """

    text: str
    score: float | None = None
    complete: bool = True


class Engine(ABC):
    """Translates segments from one language to another with one loaded model.

    The class methods run where the workflow is planned and where models are fetched; they load no model. A model is
    loaded with the folder that a module of engines/fetch made.
    """

    # How messages travel: `direct` with a model a pair, `multilingual` with one model for all pairs.
    ROUTE: ClassVar[str] = "direct"
    # The model reference that a multilingual engine uses unless the configuration names another; the beginning of its
    # family's names, and their licence.
    MODEL: ClassVar[str | None] = None
    FAMILY: ClassVar[str] = ""
    LICENCE: ClassVar[str] = ""
    # The licence of a model whose card names none: that of its makers, where one alone makes such models.
    UNMARKED_LICENCE: ClassVar[str] = ""
    # The usual size of its models on the disk in MB, and whether they run on GPUs: what jobs ask of a machine.
    MODEL_MB: ClassVar[int]
    ON_GPU: ClassVar[bool] = True
    # The module of engines/fetch by which its models are fetched.
    FETCH: ClassVar[str]
    # The environment of envs/ that it runs in.
    ENVIRONMENT: ClassVar[str] = "translation"
    # Whether translate(careful=True) decodes in another way than translate() does.
    RETRIES: ClassVar[bool] = False
    # The longest segment that the model takes, as `measure` counts it.
    limit: int

    @classmethod
    @abstractmethod
    def pairs(cls, tables: Path, model: str | None) -> LanguagePairs:
        """The pairs (source, target) that the engine routes, from the tables of config/; no network is asked.

        `model` stands in for MODEL in engines that have one model for all pairs.
        """

    @abstractmethod
    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Load the model. Raises UserError where it does not know the languages of `settings`."""

    @abstractmethod
    def measure(self, text: str) -> int:
        """The length of a segment as the model counts it; at most its length in bytes."""

    @abstractmethod
    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield the translation of each segment with its index, as they come, while the model works on others.

        The text is empty where the model gives none. `careful` asks for the slower decoding that avoids repetition,
        for segments that came out badly.
        """

    def translate_all(self, segments: list[str], careful: bool = False) -> list[Output]:
        """Return the translations of segments in their order."""
        found = dict(self.translate(segments, careful))
        return [found[index] for index in range(len(segments))]

    @abstractmethod
    def close(self) -> None:
        """Release processes and memory."""

    @classmethod
    def licence(cls, model: str) -> str:
        """The licence of a model of the engine's family; empty for others, which is known once they are fetched."""
        return cls.LICENCE if cls.FAMILY and model.startswith(cls.FAMILY) else ""


def every_pair(codes: Mapping[str, str], model: str, licence: str, names_source: bool = True) -> LanguagePairs:
    """The pairs of a multilingual model that calls each language by a code."""
    return {
        (source, target): LanguagePair(model, codes[source] if names_source else "", codes[target], licence)
        for source in codes
        for target in codes
        if source != target
    }
