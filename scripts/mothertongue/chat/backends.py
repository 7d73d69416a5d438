"""What answers a server's requests: the models in this process, or another server's."""

import asyncio
import random
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from mothertongue.serving.requests import Asked, Ended, Heard, Refusal, a_word, busy, closed, next_of


class Backend(Protocol):
    """An adapter and its base model that answer."""

    def answer(self, asked: Asked) -> AsyncGenerator[str | Ended, None]:
        """Yield the pieces of an answer's text as they come, and how it ended last; closing it ends the generation.

        Raise Refusal before the first piece where the request cannot be answered: too long, too many before it.
        """

    def check(self, models: Sequence[str]) -> None:
        """Let each model answer a word, while no server runs. Raise UserError where one cannot."""

    def fault(self) -> Refusal | None:
        """Return why no request can be answered from now on; None while that is not so."""

    def close(self) -> None:
        """End all answers with a Refusal, and give no more."""


class Talker(Protocol):
    """Loaded models that answer one request at a time, such as `chat.loaded.Loaded`."""

    def answer(self, asked: Asked, seed: int, heard: "Hearing") -> Ended:
        """Answer a request, handing the text to `heard`, which returns whether to go on. Raise Refusal."""


class Hearing(Protocol):
    """Takes pieces of text."""

    def __call__(self, piece: str, /) -> bool:
        """Take a piece; return whether to go on."""


class OneByOne:
    """A backend of loaded models, which answer in a thread of their own, one request after the other.

    At most `waiting` requests wait. `seed` draws the seeds of requests without one: the same requests in the same order
    have the same answers. `unfinished` is the number of requests that are answered or wait.
    """

    def __init__(self, talker: Talker, waiting: int, seed: int) -> None:
        self._talker, self._most = talker, waiting + 1
        self._thread = ThreadPoolExecutor(1, "answers")
        self._seeds = random.Random(seed)
        self.unfinished = 0
        # What ends the answers that somebody waits for.
        self._ends: set[Callable[[], None]] = set()
        self._closed = False

    async def answer(self, asked: Asked) -> AsyncGenerator[str | Ended, None]:
        """Yield the pieces of an answer's text, and how it ended; see Backend."""
        if self._closed:
            raise closed()
        if self.unfinished >= self._most:
            raise busy()
        seed = asked.seed if asked.seed is not None else self._seeds.getrandbits(63)
        loop, left = asyncio.get_running_loop(), threading.Event()
        heard: asyncio.Queue[Heard] = asyncio.Queue()

        def hand(item: Heard) -> None:
            if not left.is_set():
                loop.call_soon_threadsafe(heard.put_nowait, item)

        def on_text(piece: str) -> bool:
            if piece:
                hand(piece)
            return not left.is_set()

        def talk() -> None:
            try:
                hand(self._talker.answer(asked, seed, on_text))
            except Exception as error:
                hand(error)

        def end() -> None:
            hand(closed())
            left.set()

        self.unfinished += 1
        self._ends.add(end)
        job = self._thread.submit(talk)
        job.add_done_callback(lambda _: self._leave(loop))
        try:
            while not isinstance(item := await next_of(heard), Ended):
                yield item
            yield item
        finally:
            self._ends.discard(end)
            left.set()
            job.cancel()

    def check(self, models: Sequence[str]) -> None:
        """Let each model answer a word; see Backend."""
        for model in models:
            self._talker.answer(a_word(model), 0, lambda piece: True)

    def fault(self) -> Refusal | None:
        """Return why no request can be answered; see Backend."""
        return closed() if self._closed else None

    def close(self) -> None:
        """End all answers; see Backend."""
        self._closed = True
        for end in self._ends:
            end()

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a request as finished, in the thread of the server."""

        def count() -> None:
            self.unfinished -= 1

        if not loop.is_closed():
            loop.call_soon_threadsafe(count)
