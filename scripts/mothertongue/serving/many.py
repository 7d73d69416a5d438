"""Ask a server of one's own many things at once."""

import asyncio
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from mothertongue.common.progress import duration, log
from mothertongue.serving.forwarding import Forwarding
from mothertongue.serving.requests import Asked, Ended, Refusal

# Files that a process has open besides its connections.
_OTHER_FILES = 128
# How often a request is sent that the server does not answer well, and the seconds before it is sent again.
_ATTEMPTS, _PAUSE = 3, 1.0
# Seconds without any answer that are told.
_SILENCE = 600.0


@dataclass(frozen=True)
class Answer:
    """The text that answers a request, and whether the model ended it, not the limit."""

    text: str
    ended: bool


def answer_all(
    server: Forwarding, asked: Sequence[Asked], advance: Callable[[int], None] = lambda count: None
) -> list[Answer | Refusal]:
    """Return the answers to requests, in order, each with its text or why the request cannot be answered.

    As many are under way as the server takes, and as this process may have connections. Raise UserError where the
    server fails or ends.
    """
    return asyncio.run(_answer_all(server, asked, advance))


async def _answer_all(
    server: Forwarding, asked: Sequence[Asked], advance: Callable[[int], None]
) -> list[Answer | Refusal]:
    under_way = asyncio.Semaphore(_connections(server.most))
    heard = time.monotonic()

    async def answer(one: Asked) -> Answer | Refusal:
        nonlocal heard
        async with under_way:
            found = await _patiently(server, one)
        heard = time.monotonic()
        advance(1)
        return found

    async def watch() -> None:
        while True:
            await asyncio.sleep(_SILENCE)
            if (silent := time.monotonic() - heard) >= _SILENCE:
                log(f"{server.kind}: no answer for {duration(silent)}")

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(one)) for one in asked]
    except* Exception as failed:
        # The first of them; the others follow from it.
        raise failed.exceptions[0] from None
    finally:
        watching.cancel()
    return [task.result() for task in tasks]


async def _patiently(server: Forwarding, asked: Asked) -> Answer | Refusal:
    """Return an answer, or why there is none; ask again where the server runs, and its answer broke off or failed.

    Raise UserError where the server has ended, or fails each time.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _answer(server, asked)
        except Refusal as refusal:
            if refusal.status < 500:
                return refusal
            server.check_child()
            if attempt == _ATTEMPTS:
                raise
            log(f"{server.kind}: asked again: {refusal}")
            await asyncio.sleep(_PAUSE)
    raise AssertionError("the last attempt returns or raises")


def _connections(wanted: int) -> int:
    """Return how many connections this process may have, at most so many; raise its own limit where that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if 0 <= soft < needed:
        soft = needed if hard < 0 else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft < 0 else max(1, min(wanted, soft - _OTHER_FILES))


async def _answer(server: Forwarding, asked: Asked) -> Answer:
    pieces: list[str] = []
    async with aclosing(server.answer(asked)) as stream:
        async for item in stream:
            if isinstance(item, Ended):
                return Answer("".join(pieces), item.reason == "stop")
            pieces.append(item)
    raise AssertionError("an answer always ends")
