"""Who may ask: this server by its own names, its own page; and what browsers may do with it."""

import ipaddress
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104, compared with, not bound to
FIRST_ERROR = 400
ANSWER_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Refuses requests that a page of somebody else may have made the browser send.

    Such a page can have its own name resolved to this machine (DNS rebinding): then ``Host`` is
    that name. Or it sends a form here: then ``Origin`` is its own. There are no CORS headers, so it
    reads no answer either way.

    Parameters
    ----------
    app : ASGI application
    host : str
        Address that the server listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._is_open = host in EVERYWHERE
        self._names = {*LOOPBACK, host.lower()}
        if self._is_open:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or hand the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ANSWER_HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] >= FIRST_ERROR:
                    # Else what is left of a body that was refused would be read all the same.
                    headers["connection"] = "close"
            await send(message)

        refusal = self._refusal(Headers(scope=scope))
        app = self._app if refusal is None else JSONResponse({"error": refusal}, 403)
        await app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "the Host header names another server than this one"
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "only the page of this server itself may send requests from a browser"
        return None

    def _is_ours(self, host: str) -> bool:
        name = _without_port(host).lower()
        # A name can be made to lead here by whoever owns it; an address cannot.
        return name in self._names or (self._is_open and _is_address(name))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
