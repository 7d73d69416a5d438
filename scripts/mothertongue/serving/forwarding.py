"""A backend of a server that this process has started: vLLM's or llama.cpp's, which answers many requests at once.

Both get a prompt as tokens, rendered here: so they read what training read, and no text becomes a control token. The
text comes back in pieces, and stop strings are found here.
"""

import asyncio
import json
import random
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx2

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import one_line
from mothertongue.common.progress import log
from mothertongue.endpoints.child import Child
from mothertongue.models.answering import Decoding
from mothertongue.models.text_of_tokens import Stripped
from mothertongue.serving.asking import Asking
from mothertongue.serving.requests import Asked, Ended, Heard, Refusal, Until, a_word, busy, closed, next_of

_CONNECT = 10.0
# How often and how long is looked whether a server that broke a connection has ended, in seconds.
_LOOKS, _PAUSE = 30, 0.1
_SHOWN = 300
_SURROGATE = re.compile("[\ud800-\udfff]")
# llama.cpp's seeds have 32 bits, and the last one stands for none.
_LLAMA_SEEDS = 2**32 - 1


@dataclass(frozen=True)
class Step:
    """A piece of an answer: its text, the tokens so far, and where it is the last, why the answer ends."""

    text: str
    tokens: int
    reason: Literal["stop", "length"] | None = None


class Dialect(Protocol):
    """How a server is asked to go on with tokens, and what it answers."""

    @property
    def path(self) -> str:
        """The path of the address that is asked."""

    def body(self, model: str, prompt: list[int], decoding: Decoding, seed: int) -> dict[str, Any]:
        """Return the body of a request for at most `decoding.max_new_tokens` tokens."""

    def read(self, event: Mapping[str, Any]) -> Step | None:
        """Return what an event tells; None for nothing. Raise LookupError, TypeError or ValueError if it is strange."""


@dataclass(frozen=True)
class VLLM:
    """vLLM's, with the adapter as one of its models; `ends` are the tokens that end an answer."""

    ends: Sequence[int]
    path: str = "/v1/completions"

    def body(self, model: str, prompt: list[int], decoding: Decoding, seed: int) -> dict[str, Any]:
        """Return the body of a request; see Dialect."""
        return {
            "model": model,
            "prompt": prompt,
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "seed": seed,
            # The end of text of the base model's folder may be another one.
            "ignore_eos": True,
            "stop_token_ids": list(self.ends),
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }

    def read(self, event: Mapping[str, Any]) -> Step | None:
        """Return what an event tells; see Dialect."""
        if not event["choices"]:
            return None
        (choice,) = event["choices"]
        reason = choice.get("finish_reason")
        if reason not in (None, "stop", "length"):
            raise ValueError(f"an answer that ended by {reason}")
        return Step(choice["text"], event["usage"]["completion_tokens"], reason)


@dataclass(frozen=True)
class LlamaCpp:
    """llama.cpp's; `ends` are the tokens that end an answer, besides those that it knows itself.

    `has_adapter`: the model is the base model, and the adapter lies over it, switched on and off for each request.
    """

    ends: Sequence[int]
    has_adapter: bool
    path: str = "/completion"

    def body(self, model: str, prompt: list[int], decoding: Decoding, seed: int) -> dict[str, Any]:
        """Return the body of a request; see Dialect."""
        body = {
            "prompt": prompt,
            "n_predict": decoding.max_new_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            # Without these it would also cut off unlikely tokens, and in another order.
            "samplers": ["temperature", "top_p"],
            "seed": seed % _LLAMA_SEEDS,
            "return_tokens": True,
            "stream": True,
        }
        scale = {"adapter": 1.0, "base": 0.0}[model]
        return body | ({"lora": [{"id": 0, "scale": scale}]} if self.has_adapter else {})

    def read(self, event: Mapping[str, Any]) -> Step | None:
        """Return what an event tells; see Dialect."""
        reason: Literal["stop", "length"] | None = None
        if event["stop"]:
            reason = {"eos": "stop", "limit": "length"}[event["stop_type"]]  # type: ignore[assignment]
        elif not set(self.ends).isdisjoint(event["tokens"]):
            reason = "stop"
        return Step(event["content"], event["tokens_predicted"], reason)


class Forwarding:
    """A backend that asks a server of its own; `most` requests are answered or wait at a time.

    `asking` is what the models read of requests. `seed` draws the seeds of requests without one. `unfinished` is the
    number of requests that are answered or wait.
    """

    def __init__(self, child: Child, asking: Asking, dialect: Dialect, most: int, seed: int) -> None:
        self._child, self.asking, self._dialect, self.most = child, asking, dialect, most
        self._seeds = random.Random(seed)
        # A tokenizer serves one thread at a time.
        self._reader = ThreadPoolExecutor(1, "prompts")
        self._open: set[asyncio.Queue[Heard]] = set()
        self._closed = self._told = False
        self.unfinished = 0

    async def answer(self, asked: Asked) -> AsyncGenerator[str | Ended, None]:
        """Yield the pieces of an answer's text, and how it ended; see Backend."""
        if self._closed:
            raise closed()
        if self.unfinished >= self.most:
            raise busy()
        seed = asked.seed if asked.seed is not None else self._seeds.getrandbits(63)
        heard: asyncio.Queue[Heard] = asyncio.Queue()
        self.unfinished += 1
        self._open.add(heard)
        task = asyncio.ensure_future(self._ask(asked, seed, heard.put_nowait))
        try:
            while not isinstance(item := await next_of(heard), Ended):
                yield item
            yield item
        finally:
            self._open.discard(heard)
            task.cancel()
            await asyncio.wait({task})
            self.unfinished -= 1

    @property
    def kind(self) -> str:
        """What the server is called."""
        return self._child.kind

    def check_child(self) -> None:
        """Raise UserError where the server has ended, with its reason."""
        self._child.check()

    def stop(self) -> None:
        """End the server."""
        self._child.stop()

    def fault(self) -> Refusal | None:
        """Return why no request can be answered: the server ends, or its own has ended, which the log tells once."""
        if self._closed:
            return closed()
        try:
            self._child.check()
        except UserError as error:
            if not self._told:
                self._told = True
                log(f"{self._child.kind}: error: {error}")
            return Refusal(f"{self._child.kind}'s server has ended; the log of serve.py says why", 503)
        return None

    def close(self) -> None:
        """End all answers; see Backend."""
        self._closed = True
        for heard in self._open:
            heard.put_nowait(closed())

    def check(self, models: Sequence[str]) -> None:
        """Let each model answer a word. Raise UserError where one cannot."""

        async def ask(model: str) -> None:
            async for _ in self.answer(a_word(model)):
                pass

        for model in models:
            asyncio.run(ask(model))

    async def _ask(self, asked: Asked, seed: int, hand: Callable[[Heard], None]) -> None:
        """Hand on the pieces of an answer, and how it ended or why there is none."""
        try:
            loop = asyncio.get_running_loop()
            prompt = await loop.run_in_executor(self._reader, self.asking.tokens, asked)
            until, stripped = Until(asked.stop), Stripped()
            async for step in self._steps(asked, prompt, seed):
                if piece := until.add(stripped.add(_SURROGATE.sub("\ufffd", step.text))):
                    hand(piece)
                if until.found or step.reason:
                    break
            if rest := until.rest():
                hand(rest)
            hand(Ended("stop" if until.found else step.reason or "stop", len(prompt), step.tokens))
        except httpx2.TransportError as error:
            hand(await self._broken(str(error) or type(error).__name__))
        except Exception as error:
            hand(error)

    async def _steps(self, asked: Asked, prompt: list[int], seed: int) -> AsyncIterator[Step]:
        """Yield the pieces of an answer; the last one has a reason."""
        decoding, window = self.asking.decoding_of(asked), self.asking.window
        if window is not None:
            decoding = Decoding(
                min(decoding.max_new_tokens, window - len(prompt)), decoding.temperature, decoding.top_p
            )
        body = self._dialect.body(asked.model, prompt, decoding, seed)
        options: dict[str, Any] = {
            # A prompt may be read for long, and wait before.
            "timeout": httpx2.Timeout(None, connect=_CONNECT),
            "headers": {"Authorization": f"Bearer {self._child.key}"},
            # Reading all certificates takes a tenth of a second; http needs none.
            "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            "trust_env": False,
        }
        url = self._child.url.removesuffix("/v1") + self._dialect.path
        async with httpx2.AsyncClient(**options) as client, client.stream("POST", url, json=body) as response:
            if response.status_code != 200:
                raise self._refused(response.status_code, await response.aread())
            async for event in _events(response.aiter_bytes()):
                if "error" in event:
                    raise self._refused(500, json.dumps(event).encode())
                try:
                    step = self._dialect.read(event)
                except (LookupError, TypeError, ValueError) as error:
                    raise self._failed(f"it answers in another form ({error!r})") from None
                if step:
                    yield step
                    if step.reason:
                        return
        raise httpx2.RemoteProtocolError("an answer broke off")

    def _refused(self, status: int, content: bytes) -> Refusal:
        """Return what the server's error is for the client."""
        try:
            error = json.loads(content)["error"]
            said = str(error["message"])
        except (ValueError, LookupError, TypeError):
            said = content.decode(errors="replace")
        if status == 400:
            too_long = "context length" in said or "context size" in said
            return Refusal(self._safe(said), 400, "context_length_exceeded" if too_long else None)
        return self._failed(f"{status} {said}")

    async def _broken(self, why: str) -> Refusal:
        """Return why a connection broke: where a server ends, it takes a moment until that is known."""
        for _ in range(_LOOKS):
            if fault := self.fault():
                return fault
            await asyncio.sleep(_PAUSE)
        return self._failed(why)

    def _failed(self, why: str) -> Refusal:
        return Refusal(f"{self._child.kind}'s server failed: {self._safe(why)}", 502)

    def _safe(self, text: str) -> str:
        return one_line(text.replace(self._child.key, "***"))[:_SHOWN]


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield the objects of JSON in server-sent events. Lines end at a line feed alone: texts may have other ends."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, _, data = line.partition(b":")
            if name not in (b"data", b"error") or data.strip() == b"[DONE]":
                continue
            try:
                found = json.loads(data)
            except ValueError:
                # Without it the answer would lack a piece.
                raise httpx2.RemoteProtocolError("a part of an answer is no JSON") from None
            if isinstance(found, dict):
                yield {"error": found} if name == b"error" else found
