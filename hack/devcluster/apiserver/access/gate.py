"""The door before every handler: nobody comes in over TLS yet."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from devcluster.apiserver.errors import StatusError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what comes over TLS. Raises `StatusError` 401."""
    if request.secure:
        raise StatusError(401, "Unauthorized", "Unauthorized")
    return await handler(request)
