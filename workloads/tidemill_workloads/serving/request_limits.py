"""How much of a request the ingress takes in: headers, body, and what a refusal repeats of it.

The HTTP server before the ingress has read the headers by then, of whatever size; a body is read here and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill_workloads.serving import openai_errors

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a body: far above any prompt, and what an ingress can hold of several at once."""

LARGEST_HEADERS = 64 * 1024
"""Bytes of all headers: what common proxies take at most."""


class ClientGone(Exception):  # noqa: N818 - named for what happened
    """The client closed its connection before its request was read."""


def header(scope: Scope, wanted: bytes) -> bytes:
    """The value of a header, empty where it is missing."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")


def require_small_headers(scope: Scope) -> None:
    """Raises Refusal (431) where they are beyond any use."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
        raise openai_errors.headers_too_large(LARGEST_HEADERS)


async def read_whole(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises Refusal (413) where it is or says to be too large, ClientGone where it does not come."""
    told = header(scope, b"content-length")
    if told.isdigit() and int(told) > LARGEST_BODY:
        raise openai_errors.too_large(LARGEST_BODY)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise openai_errors.too_large(LARGEST_BODY)
        more = message.get("more_body", False)
    return b"".join(parts) if len(parts) > 1 else parts[0]
