"""A client of servers with OpenAI's interface for chat: vLLM, llama.cpp, Ollama, and those of companies.

It has many requests on their way at once, sends again what fails on the way, and stays within a budget. The key comes
from the environment, and is in no message.
"""

import asyncio
import os
import queue
import random
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2

from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.endpoints.answers import Answer, Answers, key_of
from mothertongue.endpoints.budget import Budget, Spent
from mothertongue.endpoints.protocol import Rejected, Request, TryAgain, check_url, longest_answer, parse, parse_body
from mothertongue.endpoints.settings import EndpointSettings

# How often a request is sent that fails.
_ATTEMPTS = 6
# The longest pause between two attempts, and how long a server may turn all requests away, in seconds.
_LONGEST_PAUSE, _PATIENCE = 60.0, 600.0
_CONNECT = 30.0
# So many requests that a server rejects while it answers none: they are not at fault.
_REJECTIONS = 5
# Tokens a byte where a server does not count them.
_BYTES_A_TOKEN = 3


class Client:
    """A client of one server and model."""

    def __init__(self, settings: EndpointSettings, model: str, answers: Answers, first_pause: float = 1.0) -> None:
        """Raise UserError where the settings lack something; `first_pause` is before a second attempt, in seconds."""
        self.settings, self.model, self.answers = settings, model, answers
        self.url = check_url(settings.endpoint_url, settings.endpoint_allow_http)
        self._body = parse_body(settings.endpoint_body)
        self._key = os.environ.get(settings.endpoint_key_variable, "").strip()
        self._budget = Budget(settings)
        self._reserved = Spent()
        self._first_pause = first_pause
        self._answered = self._rejected = 0
        self._answered_at = self._busy_until = time.monotonic()
        self._busy_pause = first_pause
        self._logged: set[str] = set()

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer | str]]:
        """Yield the answer to each request with its index as it arrives; a text tells why there is none.

        That is `rejected`, by the server, or `no answer`, whatever was tried.

        What was answered before comes first, without a request. Raise UserError where the server answers nothing, and
        where the budget is spent.
        """
        missing = []
        for index, request in enumerate(requests):
            if (found := self.answers.find(self.key(request))) is not None:
                yield index, found
            else:
                missing.append((index, request))
        if not missing:
            return
        arrived: queue.SimpleQueue[tuple[int, Answer | str] | BaseException | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._ask_all(missing, arrived))
        thread = threading.Thread(target=_run, args=(loop, task, arrived), daemon=True)
        thread.start()
        try:
            while (one := arrived.get()) is not None:
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join()
            loop.close()

    def key(self, request: Request) -> str:
        """Return the key of a request among the answers."""
        return key_of(request.body(self.model, self._body) | {"attempt": request.attempt})

    def bill(self, spent: Spent) -> str:
        """Return an amount as text, with its price where there are prices."""
        cost = self._budget.cost(spent)
        price = f", price {cost:,.2f}" if cost else ""
        tokens = f"{spent.input:,} tokens read and {spent.output:,} written"
        return f"{spent.requests:,} requests to {self.url}, {tokens}{price}"

    def record(self) -> dict[str, float]:
        """Return what this job has cost, earlier tries included, for a file of JSON."""
        own = self.answers.own
        price = round(self._budget.cost(own), 6)
        return {"requests": own.requests, "input_tokens": own.input, "output_tokens": own.output, "price": price}

    async def _ask_all(self, requests: list[tuple[int, Request]], arrived: Any) -> None:
        waiting = iter(requests)
        self._answered_at = time.monotonic()
        self._returned = asyncio.Condition()
        timeout, secure = self.settings.endpoint_timeout, self.url.startswith("https:")
        options: dict[str, Any] = {
            "timeout": httpx2.Timeout(timeout, connect=min(_CONNECT, timeout)),
            "headers": {"Authorization": f"Bearer {self._key}"} if self._key else {},
            # Reading all certificates takes a tenth of a second; http needs none.
            "verify": httpx2.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        }

        async def work() -> None:
            # A connection each: looking for a free one among many takes longer than all else.
            async with httpx2.AsyncClient(**options) as client:
                for index, request in waiting:
                    arrived.put((index, await self._ask(client, request)))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.settings.endpoint_concurrency, len(requests))):
                group.create_task(work())

    async def _ask(self, client: httpx2.AsyncClient, request: Request) -> Answer | str:
        """Return the answer to a request, which is sent again where it fails, or why there is none."""
        answered_before, failures = self._answered, 0
        while True:
            await asyncio.sleep(max(0.0, self._busy_until - time.monotonic()))
            try:
                return await self._attempt(client, request)
            except Rejected as error:
                self._rejected += 1
                if not self._answered and self._rejected >= _REJECTIONS:
                    raise self._error(f"it rejects every request: {error}") from None
                return self._unanswered("rejected", error)
            except TryAgain as error:
                why = self._plain(error)
                failures += not error.busy
                if failures >= _ATTEMPTS or time.monotonic() - self._answered_at > _PATIENCE:
                    if self._answered == answered_before:
                        raise self._error(
                            f"no answer: {why}; start again when it works, all answers are kept"
                        ) from None
                    return self._unanswered("no answer", why)
                pause = self._pause(failures, error)
            await asyncio.sleep(pause)

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
        now = time.monotonic()
        if error.pause is None and now >= self._busy_until:
            self._busy_pause = min(_LONGEST_PAUSE, 2 * self._busy_pause)
        pause = self._busy_pause if error.pause is None else error.pause
        if pause > _PATIENCE:
            raise self._error(
                f"it asks to wait for {pause:,.0f} seconds; start again then: what it has answered is kept"
            )
        self._busy_until = max(self._busy_until, now + pause)
        return 0.0

    async def _attempt(self, client: httpx2.AsyncClient, request: Request) -> Answer:
        """Send a request once; account for what it cost."""
        most = request.most(self._body)
        await self._reserve(most)
        spent, answer = most, None
        try:
            answer, counted = parse(*await self._send(client, request, longest_answer(most.output)))
            spent = counted or self._counted(request, answer)
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
            if spent != Spent():
                self.answers.add(self.key(request), answer, spent)
            self._reserved -= most
            async with self._returned:
                self._returned.notify_all()

    async def _reserve(self, most: Spent) -> None:
        """Wait until the budget has room for a request. Raise UserError where it will have none."""
        if self._budget.limited:
            self.answers.refresh(now=False)
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
        try:
            address = f"{self.url}/chat/completions"
            async with client.stream("POST", address, json=request.body(self.model, self._body)) as response:
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > longest:
                        raise TryAgain(f"its answer has more than {longest:,} bytes")
        except (httpx2.ConnectTimeout, httpx2.ConnectError) as error:
            raise TryAgain(f"no connection ({error})", cost=None) from None
        except httpx2.TimeoutException:
            raise TryAgain(f"none within {self.settings.endpoint_timeout:g} seconds") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise TryAgain(f"the connection broke ({error})") from None
        return response.status_code, response.headers, bytes(content)

    def _counted(self, request: Request, answer: Answer) -> Spent:
        """Return what a request cost by an estimate: the server does not tell it."""
        if "uncounted" not in self._logged:
            log(f"warning: {self.url}: it does not count tokens; they are estimated from the text")
            self._logged.add("uncounted")
        read = request.most(self._body).input // _BYTES_A_TOKEN
        return Spent(1, read, len(answer.text.encode(errors="replace")) // _BYTES_A_TOKEN)

    def _error(self, what: object) -> UserError:
        return UserError(f"endpoint {self.url}, model {self.model}: {self._plain(what)}")

    def _plain(self, what: object) -> str:
        """Return a text without the key, which a server may repeat."""
        return str(what).replace(self._key, "***") if self._key else str(what)


def _run(loop: asyncio.AbstractEventLoop, task: Any, arrived: Any) -> None:
    """Run a task to its end; put its error, and then None."""
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        pass
    except BaseExceptionGroup as group:
        found = [error for error in _errors(group) if isinstance(error, UserError)]
        arrived.put(found[0] if found else next(_errors(group)))
    except BaseException as error:
        arrived.put(error)
    arrived.put(None)


def _errors(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _errors(error)
        else:
            yield error
