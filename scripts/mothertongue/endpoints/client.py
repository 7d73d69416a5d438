"""A client of servers with OpenAI's interface for chat: vLLM, llama.cpp, Ollama, and those of companies.

It has many requests on their way at once, sends again what fails on the way, and stays within a budget. The key comes
from the environment, and is in no message.
"""

import asyncio
import os
import queue
import random
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import httpx2

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import one_line
from mothertongue.common.progress import log
from mothertongue.endpoints.answers import Answer, Answers, Outcome, key_of
from mothertongue.endpoints.budget import Budget, Spent
from mothertongue.endpoints.protocol import (
    Rejected,
    Request,
    TryAgain,
    check_url,
    longest_answer,
    parse_body,
    parse_response,
)
from mothertongue.endpoints.server import Server, at_once
from mothertongue.endpoints.settings import EndpointSettings

T = TypeVar("T")
# The outcomes of a request that the server does not answer, and of one that failed so often.
REJECTED, NO_ANSWER, _ATTEMPTS = "rejected", "no answer", 6
# The longest pause between two attempts, and how long a server may turn all requests away, in seconds.
_LONGEST_PAUSE, _PATIENCE = 60.0, 600.0
_CONNECT = 30.0
# What tells whether a server works at all.
_PROBE = Request(({"role": "user", "content": "Answer with: OK"},), 16)
_KEY = re.compile(r"[!-~]+")
# Characters of a message of the server in one of ours.
_SHOWN = 300


class _Stopped(Exception):
    """Another request has met an error that ends the program: no request is sent any more."""


class Client:
    """A client of one server and model."""

    def __init__(
        self,
        settings: EndpointSettings,
        model: str,
        answers: Answers,
        server: Server | None = None,
        first_pause: float = 1.0,
    ) -> None:
        """Raise UserError where the settings lack something.

        `server` is one of its own, which it starts for the first request that has no answer yet; `first_pause` is
        before a second attempt, in seconds.
        """
        self.model, self.answers, self.server = model, answers, server
        self._body = parse_body(settings.endpoint_body)
        if server:
            self.url, self._key = "", server.key
            settings = replace(settings, endpoint_concurrency=at_once(settings))
        else:
            self.url = check_url(settings.endpoint_url, settings.endpoint_allow_http)
            self._key = os.environ.get(settings.endpoint_key_variable, "").strip()
        self.settings = settings
        # What distinguishes the model from others of its name: the quantizations of a repository.
        self._kind = {"file": server.file} if server and server.file else {}
        if self._key and not _KEY.fullmatch(self._key):
            raise UserError(
                f"the key in {settings.endpoint_key_variable} is not one word of ASCII characters; set it again"
            )
        self._budget = Budget(settings)
        self._reserved = Spent()
        self._first_pause = first_pause
        self._answered = self._active = 0
        self._answered_at = self._busy_until = time.monotonic()
        self._busy_pause = first_pause
        self._failure: UserError | None = None
        self._logged: set[str] = set()
        self._began = answers.spent_here

    def stream(self, requests: Sequence[Request]) -> Generator[tuple[int, Outcome], Sequence[Request] | None]:
        """Yield the outcome of each request with its index as it arrives: its answer, or why there is none.

        That is `rejected` or `no answer`, from a server that answers other requests. What was answered before comes
        first, without a request. `send` takes requests that follow from an outcome: their indices go on from the last.
        Raise UserError where the server does not work, and where the budget is spent: what is on its way then is still
        received and kept.
        """
        self.answers.refresh()
        new, count = deque(enumerate(requests)), len(requests)
        kept, missing = deque[tuple[int, Outcome]](), deque[tuple[int, Request]]()
        server: _Asking | None = None
        try:
            while True:
                for index, request in _taken(new):
                    found = self.answers.find(self.key(request))
                    if found is None:
                        missing.append((index, request))
                    else:
                        kept.append((index, found))
                if missing and (server or not kept):
                    server = server or self._start()
                    server.ask(_taken(missing))
                if kept:
                    one = kept.popleft()
                elif server and server.asked:
                    one = server.next()
                else:
                    return
                more = (yield one) or ()
                new.extend(enumerate(more, count))
                count += len(more)
        finally:
            if server:
                server.end()

    def _start(self) -> "_Asking":
        """Start to send requests, to a server of its own where there is one."""
        if self.server:
            self.url = self.server.start()
        return _Asking(self._work)

    def close(self) -> None:
        """Write the answers to the disk, and end a server of its own."""
        self.answers.close()
        if self.server:
            self.server.stop()

    def key(self, request: Request) -> str:
        """Return the key of a request among the answers."""
        return key_of(request.body(self.model, self._body) | self._kind)

    @property
    def bill(self) -> str:
        """What this client has spent, as text, with its price where there are prices; empty for nothing."""
        spent = self.answers.spent_here - self._began
        if not spent.requests:
            return ""
        cost = self._budget.cost(spent)
        price = f", price {cost:,.2f}" if cost else ""
        tokens = f"{spent.input:,} tokens read and {spent.output:,} written"
        return f"{spent.requests:,} requests to {self.url}, {tokens}{price}"

    def record(self) -> dict[str, float]:
        """Return what this job has cost, earlier tries included, for a file of JSON."""
        own = self.answers.spent_here
        price = round(self._budget.cost(own), 6)
        return {"requests": own.requests, "input_tokens": own.input, "output_tokens": own.output, "price": price}

    async def _work(self, waiting: "asyncio.Queue[tuple[int, Request] | None]", arrived: Any) -> None:
        """Send requests as they come, so many at once, until an error ends the program."""
        self._failure, self._active = None, 0
        self._returned, self._probing = asyncio.Condition(), asyncio.Lock()
        timeout, secure = self.settings.endpoint_timeout, self.url.startswith("https:")
        options: dict[str, Any] = {
            "timeout": httpx2.Timeout(timeout, connect=min(_CONNECT, timeout)),
            "headers": {"Authorization": f"Bearer {self._key}"} if self._key else {},
            # Reading all certificates takes a tenth of a second; http needs none.
            "verify": httpx2.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            # A proxy of the environment would read what is not encrypted.
            "trust_env": secure,
        }
        at_once = self.settings.endpoint_concurrency

        async def work() -> None:
            if (one := await waiting.get()) is None:
                return
            # A connection each: looking for a free one among many takes longer than all else.
            async with httpx2.AsyncClient(**options) as client:
                while one is not None and not self._failure:
                    if not self._active:
                        self._answered_at = time.monotonic()
                    self._active += 1
                    try:
                        arrived.put((one[0], await self._ask(client, one[1])))
                    except UserError as error:
                        self._failure = self._failure or error
                    except _Stopped:
                        pass
                    self._active -= 1
                    if self._failure:
                        # Those who wait for a request end, too.
                        for _ in range(at_once):
                            waiting.put_nowait(None)
                        return
                    one = await waiting.get()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
        if self._failure:
            raise self._failure

    async def _ask(self, client: httpx2.AsyncClient, request: Request) -> Outcome:
        """Return the answer to a request, which is sent again where it fails, or why there is none."""
        answered_before, failures = self._answered, 0
        while True:
            await asyncio.sleep(max(0.0, self._busy_until - time.monotonic()))
            if self._failure:
                raise _Stopped
            try:
                return await self._attempt(client, request)
            except Rejected as error:
                await self._check_server(client, f"it rejects every request: {error}")
                return self._unanswered(REJECTED, error)
            except TryAgain as error:
                if self.server:
                    self.server.check()
                failures += not error.busy
                if failures >= _ATTEMPTS or time.monotonic() - self._answered_at > _PATIENCE:
                    why = f"no answer: {error}; start again when it works, all answers are kept"
                    if error.busy or error.cost is None:
                        raise self._error(why) from None
                    if self._answered == answered_before:
                        await self._check_server(client, why)
                    return self._unanswered(NO_ANSWER, error)
                pause = self._pause(failures, error)
            await asyncio.sleep(pause)

    async def _check_server(self, client: httpx2.AsyncClient, why: str) -> None:
        """Raise UserError with `why` where the server does not work: it does not answer a short question, either.

        Else the request is at fault. The question is not asked where another request is answered meanwhile.
        """
        answered = self._answered
        async with self._probing:
            if self._answered != answered:
                return
            try:
                await self._attempt(client, _PROBE)
            except (Rejected, TryAgain):
                raise self._error(why) from None

    def _unanswered(self, reason: str, why: object) -> str:
        """Return the reason why a request has no answer; log the first of each kind in full."""
        if reason not in self._logged:
            log(f"warning: {self._error(f'{reason}: {why}')}")
            self._logged.add(reason)
        return reason

    def _pause(self, failures: int, error: TryAgain) -> float:
        """Return how long a request waits before it is sent again; all wait while the server is busy."""
        if not error.busy:
            return min(_LONGEST_PAUSE, self._first_pause * 2 ** (failures - 1)) * random.uniform(0.75, 1.25)
        if (error.pause or 0.0) > _PATIENCE:
            raise self._error(f"it asks to wait for {error.pause:,.0f} seconds; start again then, all answers are kept")
        now = time.monotonic()
        if now >= self._busy_until:
            self._busy_until = now + max(self._busy_pause, error.pause or 0.0)
            self._busy_pause = min(_LONGEST_PAUSE, 2 * self._busy_pause)
        return 0.0

    async def _attempt(self, client: httpx2.AsyncClient, request: Request) -> Answer:
        """Send a request once; account for what it cost."""
        most = request.most(self._body)
        await self._reserve(most)
        spent, answer = most, None
        try:
            answer, counted = parse_response(*await self._send(client, request, longest_answer(most.output)))
            spent = counted or self._uncounted(most)
            self._answered, self._answered_at = self._answered + 1, time.monotonic()
            self._busy_pause = self._first_pause
            return answer
        except TryAgain as error:
            spent = {"most": most, "request": Spent(1), None: Spent()}[error.cost]
            raise
        except Rejected:
            spent = Spent(1)
            raise
        except UserError as error:
            spent = Spent(1)
            raise self._error(error) from None
        finally:
            try:
                if answer or spent != Spent():
                    self.answers.add(self.key(request), answer, spent)
            finally:
                self._reserved -= most
                async with self._returned:
                    self._returned.notify_all()

    async def _reserve(self, most: Spent) -> None:
        """Wait until the budget has room for a request. Raise UserError where it will have none."""
        if self._budget.limited:
            self.answers.refresh_soon()
        async with self._returned:
            while exceeded := self._budget.exceeded(self.answers.spent + self._reserved + most):
                if self._reserved == Spent():
                    spent = self.answers.spent
                    raise self._error(
                        f"{exceeded}: {spent.requests:,} requests with {spent.tokens:,} tokens are paid, and the next "
                        f"may need {most.tokens:,} tokens; raise the limit to go on, all answers are kept"
                    )
                await self._returned.wait()
            self._reserved += most

    async def _send(self, client: httpx2.AsyncClient, request: Request, longest: int) -> tuple[int, Any, bytes]:
        """Send a request; return the response's status, headers and content, of at most `longest` bytes."""
        content = bytearray()
        timeout = self.settings.endpoint_timeout
        try:
            # The client's own limit is for each part of an answer, which may come byte by byte.
            async with (
                asyncio.timeout(timeout),
                client.stream(
                    "POST", f"{self.url}/chat/completions", json=request.body(self.model, self._body)
                ) as response,
            ):
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > longest:
                        raise TryAgain(f"its answer has more than {longest:,} bytes")
        except (httpx2.ConnectTimeout, httpx2.ConnectError) as error:
            raise TryAgain(f"no connection ({error})", cost=None) from None
        except (httpx2.TimeoutException, TimeoutError):
            raise TryAgain(f"none within {timeout:g} seconds") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise TryAgain(f"the connection broke ({error})") from None
        return response.status_code, response.headers, bytes(content)

    def _uncounted(self, most: Spent) -> Spent:
        """Return what a request is taken to have cost whose tokens the server does not count."""
        if "uncounted" not in self._logged:
            log(f"warning: {self.url}: it does not count tokens; each request counts as the most that it can have")
            self._logged.add("uncounted")
        return most

    def _error(self, what: object) -> UserError:
        """Return an error of the server without the key, which it may repeat."""
        text = str(what).replace(self._key, "***") if self._key else str(what)
        text = one_line(" ".join(text.split()))
        shown = text if len(text) <= 2 * _SHOWN else f"{text[:_SHOWN]} ... {text[-_SHOWN:]}"
        return UserError(f"endpoint {self.url}, model {self.model}: {shown}")


class _Asking:
    """Requests on their way, in a thread with a loop of its own; `asked` is the number of those without an outcome."""

    def __init__(self, work: Callable[[Any, Any], Coroutine[Any, Any, None]]) -> None:
        self.asked = 0
        self._waiting: asyncio.Queue[tuple[int, Request] | None] = asyncio.Queue()
        self._arrived: queue.SimpleQueue[tuple[int, Outcome] | BaseException] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(work(self._waiting, self._arrived))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self, requests: Iterable[tuple[int, Request]]) -> None:
        """Send requests, each with its index."""
        for one in requests:
            self.asked += 1
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, one)

    def next(self) -> tuple[int, Outcome]:
        """Wait for the next outcome, and return it with its index. Raise the error that ends the program."""
        one = self._arrived.get()
        if isinstance(one, BaseException):
            raise one
        self.asked -= 1
        return one

    def end(self) -> None:
        """Send nothing more."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except BaseExceptionGroup as group:
            self._arrived.put(_first(group))
        except BaseException as error:
            self._arrived.put(error)


def _taken(some: "deque[T]") -> Iterator[T]:
    """Yield the items of a queue from its beginning, and take them from it."""
    while some:
        yield some.popleft()


def _first(error: BaseException) -> BaseException:
    """Return the first error of a group."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
