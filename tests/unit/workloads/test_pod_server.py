"""The port of a pod is taken by the next ingress replica at once, with Serve's own server."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ray.serve's own, as it is imported
    from ray.serve._private import http_util, replica
    from ray.serve.config import HTTPOptions

from serving_world import until

from tidemill_workloads.serving import leaving, slow_clients
from tidemill_workloads.serving.pod_server import close_idle_connections, mend_the_servers_of_this_process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Serve drops the socket that it could not bind, open
]


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve's functions as they were, once the test is over."""
    monkeypatch.setattr(http_util, "set_socket_reuse_port", http_util.set_socket_reuse_port)
    monkeypatch.setattr(replica, "start_asgi_http_server", replica.start_asgi_http_server)
    yield
    gc.collect()


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b"answer"})


async def start(port: int, served: Any = app) -> tuple[asyncio.Task[None], Any]:
    """As a replica does."""
    options = HTTPOptions(host="127.0.0.1", port=port)
    loop = asyncio.get_running_loop()
    started: tuple[asyncio.Task[None], Any] = await replica.start_asgi_http_server(
        served, options, event_loop=loop, enable_so_reuseport=False
    )
    return started


async def answered_once(port: int) -> None:
    """One server on this port that answers one request, closes its connection first, and ends."""
    task, server = await start(port)
    await until(lambda: server.started)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.read()).endswith(b"answer\r\n0\r\n\r\n")
    writer.close()
    server.should_exit = True
    await task


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def test_serve_itself_cannot_take_a_port_on_which_a_connection_lingers() -> None:
    """Where this fails, Ray has mended it, and that part of `pod_server` can go."""
    port = free_port()
    await answered_once(port)
    with pytest.raises(RuntimeError, match="Failed to bind"):
        await start(port)


async def test_the_next_replica_takes_the_port_at_once() -> None:
    mend_the_servers_of_this_process()
    mend_the_servers_of_this_process()  # a second time changes nothing
    port = free_port()
    await answered_once(port)
    await answered_once(port)


async def test_the_servers_that_serve_starts_bound_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", 0.1)
    mend_the_servers_of_this_process()
    port = free_port()
    task, server = await start(port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HT")
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    server.should_exit = True
    await task


async def test_idle_connections_are_ended_and_no_others() -> None:
    mend_the_servers_of_this_process()
    port, go_on = free_port(), asyncio.Event()
    task, server = await start(port, Waiting(go_on))
    idle, silent, asking, half = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
    idle[1].write(REQUEST)
    assert (await idle[0].readuntil(b"answer")).startswith(b"HTTP/1.1 200")
    asking[1].write(REQUEST.replace(b"/", b"/slow", 1))
    half[1].write(REQUEST[:-2])
    await until(lambda: sum(bool(one._head_bytes) for one in server.server_state.connections) == 1)
    close_idle_connections()
    assert [await asyncio.wait_for(reader.read(), 5) for reader, _ in (idle, silent)] == [b"", b""]
    go_on.set()
    half[1].write(REQUEST[-2:])
    for reader, _ in (asking, half):
        assert (await asyncio.wait_for(reader.readuntil(b"answer"), 5)).startswith(b"HTTP/1.1 200")
    for _, writer in (idle, silent, asking, half):
        writer.close()
    server.should_exit = True
    await task


async def test_an_idle_client_is_sent_away_once_the_operator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LOOK_SECONDS", 0.02)
    mend_the_servers_of_this_process()
    port = free_port()
    task, server = await start(port, Waiting(asyncio.Event()))
    seen = leaving.Leaving()
    following = asyncio.create_task(seen.follow())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(REQUEST)
        await reader.readuntil(b"answer")
        await asyncio.sleep(0.1)
    seen.told = True
    assert await asyncio.wait_for(reader.read(), 5) == b""
    following.cancel()
    writer.close()
    server.should_exit = True
    await task


REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Waiting:
    """Answers /slow once it may, everything else at once, and keeps the connections."""

    def __init__(self, go_on: asyncio.Event) -> None:
        self._go_on = go_on

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await self._go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"answer"})


async def test_two_replicas_never_share_a_port() -> None:
    mend_the_servers_of_this_process()
    port = free_port()
    task, server = await start(port)
    with pytest.raises(RuntimeError, match="Failed to bind") as raised:
        await start(port)
    assert isinstance(raised.value.__cause__, OSError)
    server.should_exit = True
    await task


async def test_of_two_replicas_that_start_at_once_one_is_refused() -> None:
    """Serve gives the other one another port where it has one, by the cause of the error."""
    mend_the_servers_of_this_process()
    port = free_port()
    ends = await asyncio.gather(start(port), start(port), return_exceptions=True)
    (refused,) = [end for end in ends if isinstance(end, BaseException)]
    ((task, server),) = [end for end in ends if not isinstance(end, BaseException)]
    assert isinstance(refused, RuntimeError)
    assert isinstance(refused.__cause__, OSError)
    server.should_exit = True
    await task
