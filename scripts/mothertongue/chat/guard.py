"""What stands before a server's answers: who may ask, from where, and how much."""

import hmac
import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mothertongue.serving.requests import Refusal

# Bytes of a request's body, at most.
LARGEST = 2 * 2**20
# What may be asked without a key: the page, which has to ask for it, and whether the server is there.
OPEN = frozenset({"/", "/page.js", "/page.css", "/health"})
# Nothing comes from elsewhere, nothing runs that is not in the page's own files, and no other page frames this one.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Guard:
    """Lets requests through to `app`, or answers them with an error.

    A page of another site, opened in a browser on this machine, can send requests here: its `Origin` gives it away, or
    the `Host` where its own name was made to lead here (DNS rebinding). `names` are the host names by which the server
    may be asked, besides those of loopback; `anywhere` lets addresses in numbers through, too. `key` is asked for where
    it is not empty.
    """

    app: ASGIApp
    key: str = ""
    anywhere: bool = False
    names: Collection[str] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check(scope["method"], scope["path"], headers)
            size, read = headers.get("content-length", "0"), 0
            # A length that is no number never gets here.
            if int(size) > LARGEST:
                raise _too_large()

            async def receive_limited() -> Message:
                nonlocal read
                message = await receive()
                read += len(message.get("body", b""))
                if read > LARGEST:
                    raise _too_large()
                return message

            await self.app(scope, receive_limited, send_guarded)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, send_guarded)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        """Raise Refusal where a request may not be answered."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_here(host):
            raise Refusal("this server does not go by the name in the header Host", 403)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refusal("a page of another site cannot ask this server", 403)
        # A link on another page may lead here, to look; browsers send this header with every request.
        if site not in ("same-origin", "none") and not (method == "GET" and path == "/"):
            raise Refusal("a page of another site cannot ask this server", 403)
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal("the body has to be JSON, with the header Content-Type: application/json", 415)
        if self.key and path not in OPEN:
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self.key.encode()):
                raise Refusal("this server needs its key: Authorization: Bearer KEY", 401, "invalid_api_key")

    def _is_here(self, host: str) -> bool:
        """Return whether a request's Host is this server."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.anywhere or address.is_loopback


def own_names(host: str) -> set[str]:
    """Return the names by which others on the network may ask a server that listens on `host`."""
    return {name.lower() for name in (host, socket.gethostname(), socket.getfqdn())}


def refused(refusal: Refusal) -> JSONResponse:
    """Return the response to a request that is not answered."""
    headers = {"retry-after": "2"} if refusal.status == 429 else {}
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(refusal.body(), refusal.status, headers)


def _too_large() -> Refusal:
    return Refusal(f"the body has more than {LARGEST:,} bytes", 413)
