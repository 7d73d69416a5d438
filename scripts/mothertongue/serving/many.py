"""Ask a server of one's own many things at once."""

import asyncio
import resource
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from mothertongue.serving.forwarding import Forwarding
from mothertongue.serving.requests import Asked, Ended, Refusal

# Files that a process has open besides its connections.
_OTHER_FILES = 128


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

    async def answer(one: Asked) -> Answer | Refusal:
        async with under_way:
            found: Answer | Refusal
            try:
                found = await _answer(server, one)
            except Refusal as refusal:
                if refusal.status >= 500:
                    server.check_child()
                    raise
                found = refusal
        advance(1)
        return found

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(one)) for one in asked]
    except* Exception as failed:
        # The first of them; the others follow from it.
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


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
