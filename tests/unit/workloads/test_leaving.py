"""An ingress replica that has to go: its clients leave it, one answer after the other, and nothing is cut."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from serving_world import World, config, until

from tidemill_workloads.serving import leaving
from tidemill_workloads.serving.leaving import Leaving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("paced_engine")]


@pytest.mark.parametrize("stream", [False, True])
async def test_answers_close_their_connections_once_clients_are_to_leave(stream: bool) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "stream": stream}
    async with World(config()) as world, httpx.AsyncClient(verify=False) as client:
        await world.engine()
        ingress = await world.ingress()
        stays = await client.post(f"{ingress.url}/v1/chat/completions", json=body)
        ingress.front.settings.leaving.told = True
        leaves = await client.post(f"{ingress.url}/v1/chat/completions", json=body)
        refused = await client.get(f"{ingress.url}/v1/nothing")
    assert "connection" not in stays.headers
    assert [leaves.headers["connection"], refused.headers["connection"]] == ["close", "close"]
    assert (stays.status_code, leaves.status_code, refused.status_code) == (200, 200, 404)
    assert not stream or leaves.text.endswith("data: [DONE]\n\n")


@asynccontextmanager
async def health_route(states: list[int]) -> AsyncIterator[tuple[str, int]]:
    """Stands for Serve's: answers each look with the next of these states, and then with the last one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        assert asked.startswith(b"GET /-/healthz ")
        status = states.pop(0) if len(states) > 1 else states[0]
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()


async def followed(monkeypatch: pytest.MonkeyPatch, door: tuple[str, int]) -> tuple[Leaving, asyncio.Task[None]]:
    monkeypatch.setattr(leaving, "LOOK_SECONDS", 0.02)
    seen = Leaving()
    seen.came_in({"type": "http", "server": door})
    return seen, asyncio.create_task(seen.follow())


async def test_what_serve_tells_balancers_has_clients_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [200, 200, 503]
    async with health_route(states) as door:
        seen, task = await followed(monkeypatch, door)
        assert not seen.now
        await until(lambda: seen.now)
        assert states == [503]
        task.cancel()


async def test_a_health_route_that_does_not_answer_has_nobody_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    async with health_route([200]) as door:
        pass
    seen, task = await followed(monkeypatch, door)
    await asyncio.sleep(0.2)
    assert not seen.now
    assert not task.done()
    task.cancel()
