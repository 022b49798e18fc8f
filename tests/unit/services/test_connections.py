"""Two connections tied together, over real sockets, on either event loop."""

import asyncio
import contextlib
import socket
import threading

import pytest
import uvloop

from devcluster.services.connections import forward
from devcluster.services.rules import Place

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
BIG = bytes(range(256)) * (1 << 15)  # 8 MiB: more than the kernel's and our buffers hold


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine on the loop that the program uses, and on the standard one."""

    def on_it(coroutine):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(asyncio.wait_for(coroutine, 30))

    return on_it


@contextlib.asynccontextmanager
async def tied(handle):
    """A client's connection whose other end is `handle(reader, writer)`, with the proxy's part between."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        place = Place(*server.sockets[0].getsockname())
        async with through(place) as streams:
            yield streams


@contextlib.asynccontextmanager
async def through(place):
    front = socket.create_server(("127.0.0.1", 0))
    front.setblocking(False)
    opening = asyncio.open_connection(*front.getsockname())
    (client, _), (reader, writer) = await asyncio.gather(asyncio.get_running_loop().sock_accept(front), opening)
    task = asyncio.create_task(forward(client, place, unbound))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await task
        front.close()


async def unbound():
    return socket.socket()


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_bytes_go_both_ways_and_all_of_them_arrive(run):
    async def both_ways():
        async with tied(echo) as (reader, writer):
            writer.write(BIG)
            writer.write_eof()
            return await reader.read() == BIG

    assert run(both_ways())


def test_a_direction_that_ends_leaves_the_other_open(run):
    async def answer_after_the_end(reader, writer):
        request = await reader.read()
        await asyncio.sleep(0.05)
        writer.write(b"heard " + request)
        writer.close()

    async def half_closed():
        async with tied(answer_after_the_end) as (reader, writer):
            writer.write(b"all")
            writer.write_eof()
            return await reader.read()

    assert run(half_closed()) == b"heard all"


def test_a_client_that_goes_is_seen_by_the_endpoint(run):
    async def gone():
        seen = asyncio.Event()

        async def wait_for_the_end(reader, writer):
            await reader.read()
            writer.close()
            seen.set()

        async with tied(wait_for_the_end) as (_, writer):
            writer.write(b"x")
            await writer.drain()
            writer.close()
            await seen.wait()

    run(gone())


def test_an_endpoint_that_breaks_off_is_seen_as_a_reset(run):
    async def break_off(reader, writer):
        await reader.read(1)
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async def broken():
        async with tied(break_off) as (reader, writer):
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()

    run(broken())


def test_an_endpoint_that_refuses_is_seen_as_a_reset(run):
    async def refused():
        with socket.create_server(("127.0.0.1", 0)) as closed:
            place = Place(*closed.getsockname())
        async with through(place) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await reader.read()

    run(refused())


def test_a_reader_that_does_not_keep_up_holds_the_writer_back(run):
    async def held():
        sent = 0
        stalled = threading.Event()

        async def pour(reader, writer):
            nonlocal sent
            with contextlib.suppress(ConnectionError):
                while not stalled.is_set():
                    writer.write(bytes(1 << 16))
                    await writer.drain()
                    sent += 1 << 16
            writer.transport.abort()

        async with tied(pour) as (_, writer):
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.3)
            stalled.set()
            writer.transport.abort()
        return sent

    assert run(held()) < 64 << 20
