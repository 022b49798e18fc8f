"""What an ingress takes in of clients that send too much or nothing more: bytes of bodies, sizes and times of heads."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from serving_world import World, until

from tidemill_api import endpoint_contract as contract
from tidemill_workloads.serving import request_limits, slow_clients
from tidemill_workloads.serving.request_limits import LARGEST_BODY, Bodies, NoRoom

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serving_world import Ingress

pytestmark = pytest.mark.timeout(60)

CHAT = "/v1/chat/completions"


@asynccontextmanager
async def connected(ingress: Ingress) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ingress.url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.close()


def body_of(size: int) -> bytes:
    """A good request of so many bytes."""
    body = b'{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}'
    return body + b" " * (size - len(body))


def head_of(size: int) -> bytes:
    return f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode()


async def told(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    """Status and error of an answer after which the server closes."""
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]


def test_bodies_give_back_what_they_took_however_they_ended() -> None:
    bodies = Bodies(most=10)
    with bodies.room() as one:
        one.take(6)
        one.require(4)
        with bodies.room() as two:
            two.take(4)
            with pytest.raises(NoRoom):
                two.take(1)
            assert bodies.held == 10
        assert bodies.held == 6
    assert bodies.held == 0


async def test_bodies_that_are_too_much_together_are_refused_at_once_and_fit_again_later(world: World) -> None:
    ingress = await world.ingress()
    ingress.front.bodies.most = 3000
    async with httpx.AsyncClient(verify=False) as caller:
        held = [asyncio.create_task(caller.post(ingress.url + CHAT, content=body_of(1000))) for _ in range(3)]
        await until(lambda: ingress.figure(contract.METRIC_HELD) == 3)
        refused = await asyncio.wait_for(caller.post(ingress.url + CHAT, content=body_of(1000)), 2)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "bodies_full"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert int(refused.headers["retry-after"]) >= 1
        assert ingress.figure(contract.METRIC_REJECTED) == 1
        await world.engine()
        assert [answer.status_code for answer in await asyncio.gather(*held)] == [200] * 3
        await until(lambda: ingress.front.bodies.held == 0)
        assert (await caller.post(ingress.url + CHAT, content=body_of(3000))).status_code == 200


async def test_a_length_that_is_only_said_takes_nobodys_room_and_is_refused_where_there_is_none(world: World) -> None:
    await world.engine()
    ingress = await world.ingress()
    async with connected(ingress) as (_, claims), httpx.AsyncClient(verify=False) as caller:
        claims.write(head_of(LARGEST_BODY) + b"{")
        await until(lambda: ingress.front.bodies.held == 1)
        assert (await caller.post(ingress.url + CHAT, content=body_of(1000))).status_code == 200
        ingress.front.bodies.most = 1000
        async with connected(ingress) as (reader, writer):
            writer.write(head_of(LARGEST_BODY))
            assert b" 429 " in await asyncio.wait_for(reader.readline(), 5), "before a byte of it is sent"


async def test_a_body_that_comes_in_chunks_is_refused_once_it_is_too_much(world: World) -> None:
    ingress = await world.ingress()
    ingress.front.bodies.most = 2**20

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 2**17

    async with httpx.AsyncClient(verify=False) as caller:
        assert (await caller.post(ingress.url + CHAT, content=parts())).status_code == 429
    await until(lambda: ingress.front.bodies.held == 0)


async def test_a_body_that_stops_coming_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "BODY_PAUSE_SECONDS", 0.2)
    ingress = await world.ingress()
    async with connected(ingress) as (reader, writer):
        writer.write(head_of(1000) + b"{")
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="408") == 1)
    assert ingress.front.bodies.held == 0


async def test_a_head_that_has_no_end_is_refused_before_it_fills_the_memory(world: World) -> None:
    ingress = await world.ingress()
    async with connected(ingress) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\n")
        line = b"x-header: " + b"x" * 4086 + b"\r\n"
        for _ in range(slow_clients.MOST_OF_A_HEAD // len(line) - 1):
            writer.write(line)
            await writer.drain()
        writer.write(line * 2)
        status, error = await told(reader)
    assert (status, error["code"]) == (431, "headers_too_large")


async def test_a_head_that_takes_too_long_is_refused_however_often_a_byte_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", 0.4)
    ingress = await world.ingress()
    async with connected(ingress) as (reader, writer):
        answer = asyncio.create_task(told(reader))
        for byte in b"GET /health HTTP/1.1\r\nhost: a name that never ends and goes on":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if answer.done():
                break
        status, error = await answer
    assert (status, error["code"]) == (408, "request_timeout")


async def test_a_connection_that_asks_nothing_is_closed_as_an_idle_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingress = await world.ingress()
    async with connected(ingress) as (reader, _):
        await asyncio.sleep(0.05)
        assert not reader.at_eof()
    made = slow_clients.BoundedHttp.connection_made

    def impatient(self: Any, transport: Any) -> None:
        self.timeout_keep_alive = 0.1
        made(self, transport)

    monkeypatch.setattr(slow_clients.BoundedHttp, "connection_made", impatient)
    async with connected(ingress) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_heads_in_parts_and_many_requests_on_one_connection_are_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of a head neither runs on into a body, an answer or a pause, nor counts their bytes."""
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(slow_clients, "MOST_OF_A_HEAD", 2000)
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.2")
    await world.engine()
    ingress = await world.ingress()
    async with connected(ingress) as (reader, writer):
        for _ in range(2):
            for part in (head_of(5000)[:30], head_of(5000)[30:], body_of(5000)[:2500]):
                writer.write(part)
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.3)
            writer.write(body_of(5000)[2500:])
            assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            await asyncio.wait_for(reader.readuntil(b"]"), 5)
            await asyncio.sleep(0.4)
            assert not reader.at_eof()
