"""Chat models behind an HTTP interface: they read whole messages, with the turns before them."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from copy import copy
from dataclasses import replace
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import byte_length
from mothertongue.common.progress import Progress
from mothertongue.common.tsv import Tables, read_table
from mothertongue.endpoints.answers import Outcome
from mothertongue.endpoints.protocol import Request
from mothertongue.models.endpoint import connect, finish
from mothertongue.translation.chat_engine import ANY, ReadsMessages
from mothertongue.translation.chat_prompts import Languages, conversation, faults, read_lines
from mothertongue.translation.documents import Documents, Group, line_length
from mothertongue.translation.engines.base import Engine, LanguagePairs, Output, every_pair
from mothertongue.translation.glossary import Glossary
from mothertongue.translation.orders import gives_orders
from mothertongue.translation.settings import EngineSettings

# Tokens of what a model is told, and the share of the window's others that the bytes of a request's lines are: read,
# they are half as many tokens, and translated at most as many. What stands before them has a quarter.
_TOLD, _LINES_SHARE = 500, 0.45
# Tokens of an answer besides the bytes of its lines.
_ANSWER_TOKENS = 64
# Lines of a request at most; and of one for what failed a check, where a model may have lost count.
_LINES, _CAREFUL_LINES = 100, 4
# The fault of a translation that gives no order, where the line gives one: the model may have followed it.
ORDERS = "orders"
# The temperature of the attempt at what failed a check: the likeliest answer is the one that failed.
_CAREFUL = 0.3


class Endpoint(ReadsMessages, Engine):
    """A chat model on a server. A request has all segments of a message, as numbered lines."""

    ROUTE = "multilingual"
    MODEL = "endpoint"
    MODEL_MB = 0
    ON_GPU = False
    # Nothing is fetched: the rule describe_endpoint writes the record of the model.
    FETCH = "endpoint"
    ENVIRONMENT = "endpoint"
    PACKAGES = ()
    RETRIES = ANY

    @classmethod
    def pairs(cls, tables: Tables, model: str | None) -> LanguagePairs:
        """Return every pair of the languages of languages.tsv, by their English names."""
        names = {row["code"]: row["name"] for row in read_table(tables("languages.tsv"))}
        return every_pair(names, model or cls.MODEL, "")

    @classmethod
    def machine(cls, settings: EngineSettings) -> str:
        """Return nothing: it computes elsewhere."""
        return ""

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        """Take the model's name from its record. Raise UserError where the settings of the endpoint lack something."""
        if settings.endpoint is None:
            raise UserError("the endpoint engine needs the settings of an endpoint: --endpoint-url")
        self.settings = settings
        self.client = connect(settings.endpoint, model, settings.answers, settings.workers)
        self.limit = round((settings.endpoint.endpoint_window - _TOLD) * _LINES_SHARE)
        self._documents = Documents(0)
        self._glossary: Glossary | None = None
        self._faults: dict[str, tuple[str, ...]] = {}

    def read(self, documents: Documents, glossary: Glossary | None) -> None:
        """Take the messages around the segments that follow, and the terms that the model is told."""
        self._documents, self._glossary = documents, glossary

    def measure(self, text: str) -> int:
        """Return the length of a segment in bytes."""
        return byte_length(text)

    def reading(self, source_code: str) -> Engine | None:
        """Return the same client for another source language."""
        other = copy(self)
        other.settings = replace(self.settings, source_code=source_code)
        # The terms are those of the first language.
        other._faults, other._glossary = {}, None
        return other

    def translate(self, segments: list[str], careful: bool = False) -> Iterator[tuple[int, Output]]:
        """Yield the translations of segments, message by message; what is wrong with one is in `faults`.

        Those that give orders come last: what a model made of them is translated back.
        """
        languages = Languages(self.settings.source_code, self.settings.target_code, self.settings.instructions)
        lines = _CAREFUL_LINES if careful else _LINES
        groups = list(self._documents.groups(segments, self.limit, lines))
        requests = [
            Request(
                conversation(group, languages, self._terms(group), careful),
                sum(map(line_length, group.texts)) + _ANSWER_TOKENS,
                _CAREFUL if careful else 0.0,
            )
            for group in groups
        ]
        doubtful: list[tuple[int, str, str]] = []
        progress = Progress("translate again" if careful else "translate", len(requests), "requests")
        with closing(self.client.stream(requests)) as outcomes:
            for index, outcome in outcomes:
                group = groups[index]
                texts, fault = _read(outcome, len(group.texts))
                for number, source, text in zip(group.numbers, group.texts, texts, strict=True):
                    self._faults[source] = found = tuple(faults(source, text, fault))
                    if text and not found and gives_orders(source):
                        doubtful.append((number, source, text))
                    else:
                        yield number, Output(text)
                progress.advance(1)
        progress.finish()
        yield from self._translated_back(doubtful)

    def _translated_back(self, doubtful: Sequence[tuple[int, str, str]]) -> Iterator[tuple[int, Output]]:
        """Yield translations, given with number and source; one that gives no order any more has the fault `orders`."""
        languages = Languages(self.settings.target_code, self.settings.source_code)
        requests = [
            Request(conversation(Group((0,), (text,)), languages), 2 * line_length(text) + _ANSWER_TOKENS)
            for _, _, text in doubtful
        ]
        with closing(self.client.stream(requests)) as outcomes:
            for index, outcome in outcomes:
                number, source, text = doubtful[index]
                (back,), _ = _read(outcome, 1)
                if not gives_orders(back):
                    self._faults[source] = (ORDERS,)
                yield number, Output(text)

    def faults(self, segment: str) -> tuple[str, ...]:
        """Return what was wrong with the last answer about a segment."""
        return self._faults.get(segment, ())

    def _terms(self, group: Group) -> list[tuple[str, str]]:
        """Return the glossary's terms in a group with their translations."""
        found = [one for text in group.texts for one in (self._glossary.find(text, "") if self._glossary else ())]
        return sorted({(one.term.source, one.term.target) for one in found})

    def close(self) -> None:
        """Write the answers to the disk, and what was spent to the log and its file."""
        finish(self.client, "translate", self.settings.usage)


def _read(outcome: Outcome, count: int) -> tuple[list[str], str]:
    """Return the translations in an answer, empty where there is none, and what is wrong with it."""
    if isinstance(outcome, str):
        return [""] * count, outcome
    if outcome.refused:
        return [""] * count, "refused"
    return read_lines(outcome.text, count, outcome.complete)


ENGINE = Endpoint
