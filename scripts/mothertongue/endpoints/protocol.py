"""OpenAI's interface for chat: addresses, bodies of requests, and what servers answer, errors included."""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import byte_length, one_line
from mothertongue.endpoints.answers import Answer
from mothertongue.endpoints.budget import Spent

# Statuses of a server that has too much to do, of one that fails, and of what is wrong with every request.
_BUSY, _FAILING = frozenset({429, 503, 529}), frozenset({408, 409, 425})
_WRONG = {
    401: "it does not accept the key; set it in the environment variable that endpoint.key_variable names",
    402: "the account is not paid up",
    404: "endpoint.url or endpoint.model is wrong",
    405: "endpoint.url is wrong",
}
# The reason of an answer that a filter withheld, and the code of such an error; some servers say more behind it.
_FILTERED = "content_filter"
# The reasons of answers that end by themselves, and of those that are cut, as servers name them.
_WHOLE = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete"})
_CUT = frozenset({"length", "model_length", "max_tokens", "time_limit"})
_ADDRESS = re.compile(r"[^\s\\?#\x00-\x20\x7f]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# More tokens than a request can have.
_ABSURD = 10**8
# The code of an error 429 that no waiting cures.
_NO_MONEY = "insufficient_quota"
# Bytes of an answer besides its text, and of a token at most.
_FRAME, _TOKEN_BYTES = 65_536, 64
# Tokens of a message besides its text, at most.
_ROLE_TOKENS = 16
_SHOWN = 200
# Names of the most tokens of an answer.
_LENGTHS = ("max_tokens", "max_completion_tokens")
# What a body laid over a request's cannot have.
_OWN = ("messages", "model", "n", "best_of", "stream")
_COUNTS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Request:
    """The messages of a conversation, each with `role` and `content`, that a model answers."""

    messages: tuple[Mapping[str, str], ...]
    max_tokens: int
    temperature: float = 0.0

    def body(self, model: str, more: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is sent; `more` is laid over it."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [dict(message) for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        body.update(more)
        return {name: value for name, value in body.items() if value is not None}

    def most(self, more: Mapping[str, Any]) -> Spent:
        """Return the most that the request can cost: a token has a byte or more."""
        read = sum(byte_length(message["content"]) + _ROLE_TOKENS for message in self.messages)
        lengths = [more.get(name, self.max_tokens) for name in _LENGTHS]
        return Spent(1, read, max(length for length in lengths if length))


class TryAgain(Exception):
    """The request failed on the way, or the server failed at it.

    `busy`: the server turns requests away, for `pause` seconds where it says so. `cost` is what it may have cost: in
    doubt the most, None where the server was not reached.
    """

    def __init__(
        self, why: str, busy: bool = False, pause: float | None = None, cost: Literal["most", "request"] | None = "most"
    ) -> None:
        super().__init__(why)
        self.busy, self.pause, self.cost = busy, pause, cost


class Rejected(Exception):
    """The server does not answer this request now, however often it is sent: it is too long, for example."""


def longest_answer(tokens: int) -> int:
    """Return the bytes of the longest answer that is read, of one with so many tokens."""
    return _FRAME + _TOKEN_BYTES * tokens


def parse_body(text: str | None) -> dict[str, Any]:
    """Return the content of endpoint.body. Raise UserError where it is no JSON object, or has a key that is ours."""
    try:
        found = json.loads(text or "{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"endpoint.body: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError('endpoint.body: not a JSON object, such as {"reasoning_effort": "low"}')
    if own := [name for name in _OWN if name in found]:
        raise UserError(f"endpoint.body: '{own[0]}' cannot be set")
    lengths = [found[name] for name in _LENGTHS if name in found]
    if any(length is not None and (type(length) is not int or length < 1) for length in lengths) or (
        found.get("max_tokens", 1) is None and not found.get("max_completion_tokens")
    ):
        raise UserError(f"endpoint.body: {' or '.join(_LENGTHS)} must be a number of tokens")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def check_url(url: str | None, allow_http: bool) -> str:
    """Return an address without a slash at its end. Raise UserError where text and key would travel in the open."""
    if not url:
        raise UserError("endpoint.url is missing: the address of the server, such as http://localhost:8000/v1")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.username is not None or parts.password is not None:
        raise UserError("endpoint.url has a name or password in it; keys come from the environment alone")
    if parts.scheme not in ("http", "https") or not host or not _ADDRESS.fullmatch(url):
        shown = one_line(url.partition("?")[0])[:_SHOWN]
        raise UserError(f"endpoint.url: '{shown}' is not an address such as https://host:8000/v1")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise UserError(
            f"endpoint.url: text and key would be sent to {host} unencrypted; use https, or set endpoint.allow_http"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_response(status: int, headers: Mapping[str, str], content: bytes) -> tuple[Answer, Spent | None]:
    """Return the answer in a response, and what it cost where the server tells it.

    Lone surrogates, which no file can hold, become U+FFFD. Raise TryAgain, Rejected, or UserError where no request can
    succeed.
    """
    if not 200 <= status < 300:
        return _failed(status, headers, content)
    try:
        found = json.loads(content)
        choice = found["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        reason, usage = choice.get("finish_reason"), found.get("usage")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise TryAgain("its answer is not what the interface prescribes") from None
    if not isinstance(text, str | None):
        raise TryAgain("its answer has no text")
    reason = str(reason or "stop").lower()
    refused = reason.startswith(_FILTERED) or bool(refusal)
    if not refused and reason not in _WHOLE | _CUT:
        # Such as DeepSeek's insufficient_system_resource: what there is of the answer may end anywhere.
        raise TryAgain(f"its answer ended by '{reason}'")
    return Answer(_SURROGATE.sub("\ufffd", text or ""), reason not in _CUT, refused), _usage(usage)


def _failed(status: int, headers: Mapping[str, str], content: bytes) -> tuple[Answer, Spent]:
    """Raise the error that a response of another status stands for; return an answer that a filter withheld."""
    said, code = _said(content)
    why = f"{status} {said}".strip()
    if code == _FILTERED:
        return Answer("", refused=True), Spent(1)
    if status in _WRONG or code == _NO_MONEY:
        raise UserError(f"{_WRONG.get(status, 'the account has no money left')} ({why})")
    if 300 <= status < 400:
        raise UserError(f"it sends elsewhere ({status}); set endpoint.url to that address")
    if status in _BUSY:
        raise TryAgain(why, busy=True, pause=_seconds(headers.get("retry-after")), cost="request")
    if status in _FAILING or status >= 500:
        # What waits before a server may give up on an answer that is paid for.
        raise TryAgain(why)
    raise Rejected(why)


def _said(content: bytes) -> tuple[str, str]:
    """Return the message and the code of an error."""
    try:
        found = json.loads(content)
        error = found.get("error", found)
        error = error if isinstance(error, dict) else {"message": error}
        message, code = error.get("message") or error.get("detail") or "", error.get("code")
    except (ValueError, AttributeError, RecursionError):
        message, code = content.decode(errors="replace"), ""
    return str(message), str(code)


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a header Retry-After; None where it has none, or a date."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return max(0.0, seconds) if seconds == seconds else None


def _usage(usage: Any) -> Spent | None:
    """Return the tokens that a server counted; None where it did not, or not sensibly."""
    read, written = (usage.get(name) if isinstance(usage, dict) else None for name in _COUNTS)
    if type(read) is not int or type(written) is not int or min(read, written) < 0 or max(read, written) > _ABSURD:
        return None
    return Spent(1, read, written)
