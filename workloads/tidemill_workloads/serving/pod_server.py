"""Mends the HTTP server that Serve starts in an ingress replica, where no setting of Serve does.

Its port: Serve 2.60 binds the port of a direct ingress without SO_REUSEADDR (`start_asgi_http_server`). After a crash,
and after a drain that closed connections, the kernel remembers their ends for a minute, so the bind fails, and then
Serve's controller blocks the port for good (`PortAllocator.release(block_port=True)`): a pod has one port, and would
never take requests again. The function has a switch for Serve's own proxies, which is used here.

Its patience: uvicorn bounds neither the time nor the size of a request's head, and Serve passes nothing on that would.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import Any

from tidemill_workloads.serving.slow_clients import BoundedHttp

LOOK_SECONDS = 0.01

_SERVERS: list[Any] = []
"""The servers that Serve has started in this process: one, in the life of an ingress replica."""


def mend_the_servers_of_this_process() -> None:
    """Those that Serve starts from now on. Two that listen on one port at once still exclude each other.

    Raises AttributeError where a later Ray has these functions no more, and this has to be looked at again.
    """
    from ray.serve._private import http_util, replica

    start = replica.start_asgi_http_server  # type: ignore[attr-defined] # imported there, and called by that name

    @functools.wraps(start)
    async def start_mended(*arguments: Any, **options: Any) -> Any:
        task, server = await start(*arguments, **options | {"enable_so_reuseport": True})
        server.config.http = BoundedHttp  # the server reads it when its task begins, which is after this
        await _listening(task, server)
        _SERVERS.append(server)
        return task, server

    if getattr(start, "__wrapped__", None) is None:
        http_util.set_socket_reuse_port = _reuse_address
        replica.start_asgi_http_server = start_mended  # type: ignore[attr-defined] # as above


def close_idle_connections() -> None:
    """Those of this process's servers that are kept and on which nothing is asked just now."""
    for server in _SERVERS:
        for connection in list(server.server_state.connections):
            connection.leave_if_idle()


async def _listening(task: asyncio.Task[None], server: Any) -> None:
    """Until the server listens: only then is it known that no other one has the port. Raises RuntimeError as Serve."""
    while not server.started:
        if task.done():
            raise RuntimeError("Failed to listen on the port") from task.exception()
        await asyncio.sleep(LOOK_SECONDS)


def _reuse_address(sock: socket.socket) -> bool:
    """SO_REUSEADDR alone: with SO_REUSEPORT, which Serve's own function sets too, two replicas could share a port."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return True
