"""What a served model is asked, and how its answer ends."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import one_line
from mothertongue.formats.votes import Turns

_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class Refusal(UserError):
    """A request that is not answered: the status and, in OpenAI's words, the code and the parameter that is wrong."""

    def __init__(self, message: str, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def body(self) -> dict[str, Any]:
        """Return the error as OpenAI's interface has it."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": one_line(str(self)), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Asked:
    """A conversation that ends with a question, the model that is to answer it, and how; None leaves it to the server.

    `stop` are the strings before which an answer ends; the tokens' number and `seed` are whole numbers.
    """

    model: str
    messages: Turns
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    with_usage: bool = False


@dataclass(frozen=True)
class Ended:
    """How an answer ended: by the model or a stop string (`stop`), or at its limit (`length`); and the tokens."""

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int

    def usage(self) -> dict[str, int]:
        """Return the numbers of tokens by OpenAI's names."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


# What comes of an answer: pieces of its text, and how it ended or why there is none.
Heard = str | Ended | Exception


async def next_of(heard: asyncio.Queue[Heard]) -> str | Ended:
    """Return what comes next of an answer. Raise why there is none."""
    item = await heard.get()
    if isinstance(item, Exception):
        raise item
    return item


class Until:
    """A text that comes in pieces, up to the first of the strings before which it ends; `found` when it has come."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops, self._held = stops, ""
        self.found = False

    def add(self, piece: str) -> str:
        """Return what is certain with one more piece: its end may be the beginning of a stop string."""
        if self.found:
            return ""
        text = self._held + piece
        if places := [at for stop in self._stops if (at := text.find(stop)) >= 0]:
            self.found, self._held = True, ""
            return text[: min(places)]
        longest = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest]

    def rest(self) -> str:
        """Return what was held back, at the end of the text."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that is a beginning of a stop string, but not all of it."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def a_word(model: str) -> Asked:
    """Return a request that is answered in no time."""
    return Asked(model, [{"role": "user", "content": "a"}], max_tokens=1)


def busy() -> Refusal:
    """Return what a request gets that cannot even wait."""
    return Refusal("too many requests wait for an answer; try again later", 429, "server_busy")


def closed() -> Refusal:
    """Return what requests get while the server ends."""
    return Refusal("the server ends", 503)
