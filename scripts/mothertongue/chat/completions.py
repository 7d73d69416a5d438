"""OpenAI's interface for chat, as a server has it: what requests ask, and the bodies that answer them."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mothertongue.common.plain_text import one_line
from mothertongue.formats.turns import ROLES
from mothertongue.formats.votes import SIDES, Turns
from mothertongue.serving.requests import Asked, Ended, Refusal

# The most stop strings of a request.
_MOST_STOPS = 16
_SEEDS = 2**63
_HOTTEST = 100
_SHOWN = 200
# What is followed, and what changes no answer here.
_FOLLOWED = frozenset({
    "model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "stream",
    "stream_options",
})  # fmt: skip
_IDLE = frozenset({
    "user", "metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "prediction", "parallel_tool_calls", "cache_prompt", "keep_alive",
})  # fmt: skip
# What may change an answer and is not here, with the values that ask for nothing; null always does. All other options
# are refused with any value: servers have many of their own.
_NOT_HERE: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "repeat_penalty": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "modalities": (["text"],),
}
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(content: bytes) -> dict[str, Any]:
    """Return the JSON object in a request's body. Raise Refusal where it is none."""
    try:
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"the body is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise Refusal("the body is not a JSON object")
    if _SURROGATE.search(json.dumps(found, ensure_ascii=False)):
        raise Refusal("the body has half a character (a lone surrogate)")
    return found


def parse_asked(body: Mapping[str, Any], models: Sequence[str] = SIDES) -> Asked:
    """Return what a request's body asks of one of the models.

    Raise Refusal where it asks nothing that can be answered, with the reason.
    """
    for name, asked in body.items():
        if name in _FOLLOWED | _IDLE or asked is None:
            continue
        if not any(_equal(asked, value) for value in _NOT_HERE.get(name, ())):
            shown = one_line(name)[:_SHOWN]
            raise Refusal(f"'{shown}' is not supported here; leave it out", param=shown)
    options = body.get("stream_options")
    if not (options is None or isinstance(options, dict)):
        raise Refusal("'stream_options' is not an object", param="stream_options")
    longest = [_number(body, name, 1, math.inf, whole=True) for name in ("max_completion_tokens", "max_tokens")]
    top_p = _number(body, "top_p", 0, 1)
    if top_p == 0:
        raise Refusal("'top_p' is 0, and no token has that; take a low one, such as 0.01", param="top_p")
    temperature = _number(body, "temperature", 0, _HOTTEST)
    seed = _number(body, "seed", -_SEEDS, _SEEDS - 1, whole=True)
    return Asked(
        model=_model(body.get("model"), models),
        messages=_messages(body.get("messages")),
        max_tokens=next((int(length) for length in longest if length is not None), None),
        # Programs send 2 as well as 2.0, and transformers takes no whole number.
        temperature=None if temperature is None else float(temperature),
        top_p=None if top_p is None else float(top_p),
        seed=None if seed is None else int(seed),
        stop=_stop(body.get("stop")),
        stream=_flag(body, "stream"),
        with_usage=_flag(options or {}, "include_usage"),
    )


@dataclass(frozen=True)
class Completion:
    """The bodies that answer a request; `created` is in seconds since 1970."""

    id: str
    created: int
    model: str
    fingerprint: str

    def whole(self, text: str, ended: Ended) -> dict[str, Any]:
        """Return the body of an answer at once."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": ended.reason}
        return self._body("chat.completion", choices=[choice], usage=ended.usage())

    def chunk(self, delta: Mapping[str, str], reason: str | None = None) -> dict[str, Any]:
        """Return the body of a piece of an answer."""
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": reason}
        return self._body("chat.completion.chunk", choices=[choice])

    def usage(self, ended: Ended) -> dict[str, Any]:
        """Return the last body of an answer in pieces, for requests that want to know the tokens."""
        return self._body("chat.completion.chunk", choices=[], usage=ended.usage())

    def _body(self, kind: str, **more: Any) -> dict[str, Any]:
        made = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**made, "system_fingerprint": self.fingerprint, **more}


def event(body: Mapping[str, Any] | str) -> bytes:
    """Return a server-sent event."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def _model(value: Any, models: Sequence[str]) -> str:
    if value not in models:
        if not isinstance(value, str):
            raise Refusal(f"'model' is missing: {' or '.join(models)}", param="model")
        shown = one_line(value)[:_SHOWN]
        raise Refusal(f"no model '{shown}' here: {' or '.join(models)}", 404, "model_not_found", "model")
    return str(value)


def _messages(value: Any) -> Turns:
    """Return the messages with their text alone; `developer` is another name for `system`."""
    if not isinstance(value, list) or not value:
        raise Refusal("'messages' is not a list of messages", param="messages")
    turns = []
    for number, message in enumerate(value):
        where = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        role = "system" if role == "developer" else role
        if role not in ROLES:
            raise Refusal(f"{where} has no role of {', '.join(ROLES)}", param="messages")
        turns.append({"role": role, "content": _text(message.get("content"), where)})
    if turns[-1]["role"] != "user":
        raise Refusal("the last of 'messages' is not a user's: there is nothing to answer", param="messages")
    if not turns[-1]["content"].strip():
        raise Refusal("the last of 'messages' is empty", param="messages")
    return turns


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) and content else [None]
    texts: list[Any] = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise Refusal(f"{where} has a content that is not text", param="messages")
    return "\n".join(texts)


def _stop(value: Any) -> tuple[str, ...]:
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS:
        raise Refusal(f"'stop' is neither a text nor a list of at most {_MOST_STOPS}", param="stop")
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise Refusal("'stop' has something else than a text, or an empty one", param="stop")
    return tuple(stops)


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if not (value is None or isinstance(value, bool)):
        raise Refusal(f"'{name}' is neither true nor false", param=name)
    return bool(value)


def _number(body: Mapping[str, Any], name: str, least: float, most: float, whole: bool = False) -> float | int | None:
    """Return a number of a body; None where it has none, or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        limits = f"from {least:,}" + ("" if most == math.inf else f" to {most:,}")
        raise Refusal(f"'{name}' is not {kind} {limits}", param=name)
    return value


def _equal(value: Any, neutral: Any) -> bool:
    """Return whether two values of JSON are the same; true is not 1."""
    return value == neutral and isinstance(value, bool) == isinstance(neutral, bool)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
