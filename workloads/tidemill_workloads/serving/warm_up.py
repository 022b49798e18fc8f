"""The first request of an engine is ours: what is compiled or allocated lazily is done before it counts as ready."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from tidemill_workloads.serving.asgi import post_scope
from tidemill_workloads.urls import COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

NOT_SERVED = 404
"""A server without this URL: the model does the other thing."""


async def warm_up(app: ASGIApp, model: str) -> None:
    """Asks for two tokens, or else for one embedding. A refusal is logged: users' requests may fare better."""
    for path, body in (
        (COMPLETIONS, {"model": model, "prompt": "tide", "max_tokens": 2, "temperature": 0}),
        (EMBEDDINGS, {"model": model, "input": "tide"}),
    ):
        status = await _ask(app, path, json.dumps(body).encode())
        if status < 300:
            return
        if status != NOT_SERVED:
            log.warning("the warm-up request %s was answered with status %d", path, status)


async def _ask(app: ASGIApp, path: str, body: bytes) -> int:
    """The status that the server answers with."""
    statuses: list[int] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        never: asyncio.Future[MutableMapping[str, Any]] = asyncio.get_running_loop().create_future()
        return await never  # this client stays

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(post_scope(path, [(b"content-type", b"application/json")]), receive, send)
    return statuses[0] if statuses else 500
