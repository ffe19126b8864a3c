"""What stands before the application: who may ask, and how much.

A page of any site in the same browser can send requests to 127.0.0.1, and a name of its own can be made to point there. So
the Host must be ours (no rebinding of names), and a request that a browser sends for another site is refused. There are no
CORS headers: no other site can read an answer.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The policy of an answer that states none of its own."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": NOTHING,
}


class Guard:
    """ASGI middleware that refuses what is not for us, and writes the headers that keep answers to ourselves.

    Args:
        port: ours, on 127.0.0.1.
        max_bytes: how long the body of a request may be.
    """

    def __init__(self, app: Application, *, port: int, max_bytes: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        if port == 80:
            self.hosts |= {"127.0.0.1", "localhost"}
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def with_headers(event: Event) -> None:
            if event["type"] == "http.response.start":
                given = {name.lower() for name, _ in event["headers"]}
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                event["headers"] = [*event["headers"], *(pair for pair in own if pair[0] not in given)]
            await send(event)

        refusal = self._refusal(scope)
        if refusal is None:
            body = await self._body(receive)
            if isinstance(body, bytes):
                await self.app(scope, _replay(body, receive), with_headers)
                return
            refusal = body
        await _answer(with_headers, *refusal)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence with which a request is refused; None lets it in."""
        given = [(name.decode("latin-1").lower(), value.decode("latin-1").strip()) for name, value in scope["headers"]]
        headers = dict(given)
        hosts = [value for name, value in given if name == "host"]
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            allowed = " or ".join(sorted(self.hosts))
            return 403, f"this server answers to the host {allowed} only: use that address, also through a tunnel"
        if any(value != f"http://{hosts[0]}" for name, value in given if name == "origin"):
            return 403, "this request comes from another site, and those are not answered"
        # Every current browser says where a request comes from. A link on another site may open the page, nothing else.
        link = scope["method"] == "GET" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not link:
            return 403, "this request comes from another site, and those are not answered"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.max_bytes:
            return self._too_large()
        return None

    async def _body(self, receive: Receive) -> bytes | tuple[int, str]:
        """The body, counted while it comes: what Content-Length says is no more than a promise."""
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
            if len(body) > self.max_bytes:
                return self._too_large()
        return body

    def _too_large(self) -> tuple[int, str]:
        return 413, f"this is longer than {self.max_bytes} bytes: shorten it, or start the server with more --max-bytes"


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replay() -> Event:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _answer(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
