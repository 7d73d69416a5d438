"""The server: OpenAI's interface for chat, a page to chat in, and the votes that the page sends."""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from mothertongue.chat.backends import Backend
from mothertongue.chat.completions import Completion, event, parse_asked, parse_json
from mothertongue.chat.guard import refused
from mothertongue.chat.votes import AnotherVote, VoteFile
from mothertongue.common.errors import UserError
from mothertongue.formats.votes import SIDES, parse_vote
from mothertongue.serving.requests import Asked, Ended, Refusal

_PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
# Connections at once; seconds that answers have to end in after the server was told to end.
_CONNECTIONS, _PATIENCE = 128, 2
# Seconds in which a connection has to ask something.
_SILENCE = 10


@dataclass(frozen=True)
class Served:
    """What is served: the adapter's folder as it was named, its digest and language, where votes go, and the models."""

    adapter: str
    digest: str
    language: str
    system_prompt: str
    votes: Path
    models: tuple[str, ...] = SIDES


def application(backend: Backend, served: Served) -> Starlette:
    """Return the application, which is to stand behind a Guard."""
    started, votes = int(time.time()), VoteFile(served.votes)
    models = {
        name: {"id": name, "object": "model", "created": started, "owned_by": "mothertongue"} for name in served.models
    }

    async def chat(request: Request) -> Response:
        asked = parse_asked(parse_json(await request.body()), served.models)
        made = Completion(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), asked.model, served.digest)
        return _Answer(backend.answer(asked), asked, made)

    async def vote(request: Request) -> Response:
        body = parse_json(await request.body())
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        try:
            cast = parse_vote(body | {"time": now, "adapter": served.digest})
        except ValueError as error:
            raise Refusal(f"no vote: {error}") from None
        try:
            is_new = await asyncio.to_thread(votes.append, cast)
        except AnotherVote as error:
            return JSONResponse({"vote": error.vote} | Refusal(str(error), 409).body(), 409)
        return JSONResponse({"vote": cast.vote}, 201 if is_new else 200)

    async def list_models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": list(models.values())})

    async def show_model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in models:
            raise Refusal(f"no such model here: {' or '.join(models)}", 404, "model_not_found", "model")
        return JSONResponse(models[name])

    async def settings(request: Request) -> Response:
        return JSONResponse(
            {
                "adapter": served.adapter,
                "language": served.language,
                "system_prompt": served.system_prompt,
                "votes": str(served.votes),
                "models": served.models,
            }
        )

    async def health(request: Request) -> Response:
        if fault := backend.fault():
            raise fault
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            *(Route(path, _file(name)) for path, name in _PAGE_FILES.items()),
            Route("/health", health),
            Route("/settings", settings),
            Route("/votes", vote, methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/v1/models/{name}", show_model),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ],
        exception_handlers={Refusal: _refuse, UserError: _fail, HTTPException: _miss, Exception: _break},
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address, and does not listen yet. Raise UserError where that fails."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port}: {error.strerror}; --port 0 takes one that is free"
        ) from None
    return bound


class _Connection(H11Protocol):
    """A connection that ends where it asks nothing for some time: silent ones would keep all others out."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.loop.call_later(_SILENCE, self._look, None)

    def _look(self, before: object) -> None:
        """End it where nothing was asked since the last look, when `before` was asked."""
        if self.transport.is_closing():
            return
        if self.cycle is before and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        else:
            self.loop.call_later(_SILENCE, self._look, self.cycle)


class _Server(uvicorn.Server):
    """A server that ends its answers when it is told to end."""

    def __init__(self, config: uvicorn.Config, backend: Backend) -> None:
        super().__init__(config)
        self._backend = backend

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the answers, then everything."""
        self._backend.close()
        await super().shutdown(sockets)


def server(app: Any, backend: Backend) -> uvicorn.Server:
    """Return the server of an application; `run(sockets=[...])` answers requests until the process is told to end."""
    # The names and addresses that proxies tell in headers are not believed.
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        loop="asyncio",
        http=_Connection,
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_PATIENCE,
    )
    return _Server(config, backend)


class _Answer(Response):
    """The response to a request for an answer; the generation ends when the client goes."""

    def __init__(self, pieces: AsyncGenerator[str | Ended, None], asked: Asked, made: Completion) -> None:
        super().__init__()
        self._pieces, self._asked, self._made = pieces, asked, made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or stop when the client goes."""
        talking = asyncio.ensure_future(self._talk(scope, receive, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({talking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not talking.done():
                talking.cancel()
            # Let it close the generation.
            await asyncio.wait({talking})
        if not talking.cancelled():
            talking.result()

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            if not self._asked.stream:
                text, ended = "", Ended("length", 0, 0)
                async for piece in pieces:
                    if isinstance(piece, Ended):
                        ended = piece
                    else:
                        text += piece
                await JSONResponse(self._made.whole(text, ended))(scope, receive, send)
                return
            # Errors before the first piece have a status of their own.
            first = await anext(pieces)
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send_event(send, self._made.chunk({"role": "assistant", "content": ""}))
            try:
                await self._send_piece(send, first)
                async for piece in pieces:
                    await self._send_piece(send, piece)
            except UserError as error:
                refusal = error if isinstance(error, Refusal) else Refusal(str(error), 500)
                await self._send_event(send, refusal.body())
            await send({"type": "http.response.body", "body": b""})

    async def _send_piece(self, send: Send, piece: str | Ended) -> None:
        if isinstance(piece, str):
            await self._send_event(send, self._made.chunk({"content": piece}))
            return
        await self._send_event(send, self._made.chunk({}, piece.reason))
        if self._asked.with_usage:
            await self._send_event(send, self._made.usage(piece))
        await self._send_event(send, "[DONE]")

    async def _send_event(self, send: Send, body: dict[str, Any] | str) -> None:
        await send({"type": "http.response.body", "body": event(body), "more_body": True})


async def _left(receive: Receive) -> None:
    """Wait until the client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def send_file(request: Request) -> Response:
        return FileResponse(_PAGE / name)

    return send_file


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def _fail(request: Request, error: Exception) -> Response:
    return refused(Refusal(str(error), 500))


async def _miss(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "no such address here" if error.status_code == 404 else error.detail.lower()
    return refused(Refusal(said, error.status_code))


async def _break(request: Request, error: Exception) -> Response:
    """Answer after a bug, whose traceback is in the server's log."""
    return refused(Refusal("an error of the server, which its log tells", 500))
