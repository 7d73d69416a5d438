"""The interface of translation engines, which each engine's module implements, and its data types."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

from mothertongue.common.tsv import Tables
from mothertongue.translation.settings import EngineSettings


@dataclass(frozen=True)
class LanguagePair:
    """An engine's model and codes for a language pair.

    `model` is a model reference; the codes are the model's codes for the two languages (for OPUS-MT the target token),
    empty where it needs none. `licence` is the model's, empty where it is unknown before the model is fetched.
    """

    model: str
    source_code: str = ""
    target_code: str = ""
    licence: str = ""


# What a decoding that avoids repetition helps to pass: it fixed 57 of 62 loops, but none of 46 lost numbers.
AVOIDS_REPETITION = frozenset({"repetition", "brackets", "untranslated", "empty", "meaning"})

LanguagePairs = dict[tuple[str, str], LanguagePair]


class Output(NamedTuple):
    """The translation of a segment.

    `score` is the mean log-probability of its tokens where the engine returns it; `complete` is false where the output
    was cut off at the length limit.
    """

    text: str
    score: float | None = None
    complete: bool = True


class Engine(ABC):
    """A translation engine: translates segments from one language to another with one loaded model.

    The class methods run in planning the workflow and in fetching models; they load no model. The constructor loads a
    model from the folder that a module of engines/fetch wrote.
    """

    # The kind of route: `direct` with a model per pair, `multilingual` with one model for all pairs.
    ROUTE: ClassVar[str] = "direct"
    # A multilingual engine's default model reference; the prefix of its family's names, and the family's licence.
    MODEL: ClassVar[str | None] = None
    FAMILY: ClassVar[str] = ""
    LICENCE: ClassVar[str] = ""
    # The licence of a model whose card names none, where a single publisher makes such models.
    UNMARKED_LICENCE: ClassVar[str] = ""
    # For the resources of jobs: the usual size of a model on disk in MB, and whether it can run on GPUs.
    MODEL_MB: ClassVar[int]
    ON_GPU: ClassVar[bool] = True
    # The module of engines/fetch that fetches its models.
    FETCH: ClassVar[str]
    # The environment of envs/ that it runs in.
    ENVIRONMENT: ClassVar[str] = "translation"
    # The packages that compute: another version may translate otherwise.
    PACKAGES: ClassVar[tuple[str, ...]]
    # The checks that translate(careful=True) helps to pass; None where it does what translate() does.
    RETRIES: ClassVar[frozenset[str] | None] = None
    # The longest segment that the model accepts, in units of `measure`.
    limit: int

    @classmethod
    @abstractmethod
    def pairs(cls, tables: Tables, model: str | None) -> LanguagePairs:
        """Return the pairs (source, target) that the engine supports, from the tables of config/, without a network.

        `model` replaces MODEL in engines with one model for all pairs.
        """

    @abstractmethod
    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Load the model. Raise UserError where it does not support the languages of `settings`."""

    @classmethod
    @abstractmethod
    def machine(cls, settings: EngineSettings) -> str:
        """Return what of this machine decides translations: the kind of device, and the numbers it computes with."""

    @abstractmethod
    def measure(self, text: str) -> int:
        """Return the length of a segment in the model's units; at most its length in bytes."""

    def reading(self, source_code: str) -> "Engine | None":
        """Return the same loaded model for another source language; None where it has only one, or not this one."""
        return None

    def reads(self, text: str) -> bool:
        """Return whether the model's vocabulary has every character of a text; byte-level vocabularies have all."""
        return True

    @abstractmethod
    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield the translation of each segment with its index as it is ready, while the model works on others.

        The text is empty where the model returns none. `careful` selects another decoding, or another form of the text,
        for segments that failed a check.
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
        """Return the licence of a model of the engine's family; empty for others, whose cards are read at fetching."""
        return cls.LICENCE if cls.FAMILY and model.startswith(cls.FAMILY) else ""


E = TypeVar("E", bound=Engine)


def with_source(engine: E, source_code: str) -> E:
    """Return an engine with the same loaded model and another code of the source language."""
    other = copy(engine)
    other.settings = replace(engine.settings, source_code=source_code)  # type: ignore[attr-defined]
    return other


def every_pair(codes: Mapping[str, str], model: str, licence: str, names_source: bool = True) -> LanguagePairs:
    """Return all pairs of a multilingual model with a code for each language."""
    return {
        (source, target): LanguagePair(model, codes[source] if names_source else "", codes[target], licence)
        for source in codes
        for target in codes
        if source != target
    }
