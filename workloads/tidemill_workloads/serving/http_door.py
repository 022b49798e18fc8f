"""Stands before Serve's own code in each HTTP server: takes away the headers by which clients would give it orders.

Serve obeys some headers before the ingress sees a request: a timeout of the client's own choice, not to look whether
the client is still there, which replica to take; and where they are no text, they end in an error that is none of
OpenAI's. The endpoint's spec says what a request may ask for, so none of these gets through. A plain request id does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.middleware import Middleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

REQUEST_ID = b"x-request-id"

ORDERS = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"x-session-id",
        b"serve-multiplexed-model-id",
    }
)
"""Headers that Serve obeys (`serve/_private/constants.py` of Ray 2.60), with - for _ as Serve compares them."""

_PLAIN_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def middlewares() -> list[Middleware]:
    """What RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names."""
    return [Middleware(HttpDoor)]


class HttpDoor:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on without orders."""
        if "headers" in scope:
            scope["headers"] = [pair for pair in scope["headers"] if _passes(*pair)]
        await self._app(scope, receive, send)


def _passes(name: bytes, value: bytes) -> bool:
    if name == REQUEST_ID:
        return _PLAIN_ID.fullmatch(value) is not None
    return name.lower().replace(b"_", b"-") not in ORDERS
