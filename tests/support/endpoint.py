"""A server with OpenAI's interface for chat on loopback, which answers, or fails, as a test wants."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reply:
    """A response. `after` seconds it is sent, `cut` after so many bytes; `raw` stands for the whole body.

    `drip`: seconds from one byte to the next.
    """

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    after: float = 0.0
    cut: int | None = None
    raw: bytes | None = None
    usage: tuple[int, int] | None = (10, 5)
    drip: float = 0.0

    @property
    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.text}}).encode()
        message = {"role": "assistant", "content": self.text}
        found = {"choices": [{"index": 0, "message": message, "finish_reason": self.finish}]}
        if self.usage:
            found["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), self.usage, strict=True))
        return json.dumps(found).encode()


class Endpoint:
    """The server. `reply` makes the response to a request's body and number; what came is in `bodies` and `headers`."""

    def __init__(self, reply: Callable[[dict, int], Reply]):
        self.reply = reply
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.at_once = self.most_at_once = 0

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> list[str]:
        """The last message of each request."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def _serve(self, started: threading.Event):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; return whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.paths.append(head[0].split()[1])
        self.bodies.append(body)
        self.headers.append(headers)
        reply = self.reply(body, len(self.bodies) - 1)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(reply.after)
        self.at_once -= 1
        content = reply.body
        fields = {"content-type": "application/json", "content-length": str(len(content))} | reply.headers
        lines = [f"HTTP/1.1 {reply.status} Status", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        for at in range(len(content)) if reply.drip else ():
            writer.write(content[at : at + 1])
            await writer.drain()
            await asyncio.sleep(reply.drip)
        writer.write(b"" if reply.drip else content[: reply.cut])
        await writer.drain()
        return reply.cut is None
