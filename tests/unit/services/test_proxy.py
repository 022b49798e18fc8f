"""The proxy's listeners and addresses, with the host's loopback in the place of the pods' network."""

import asyncio
import contextlib
import socket

import pytest

from devcluster.kubelet.network import NetworkError
from devcluster.services import proxy as proxy_module
from devcluster.services.proxy import Proxy
from devcluster.services.rules import Place, Rule

WEB = "127.10.0.1"


class Loopback:
    """Every address of 127.0.0.0/8 is there already, so only what was asked for is noted. It says what is `taken`."""

    def __init__(self, left=()):
        self.left = set(left)
        self.present = set(left)
        self.taken = set()

    async def prepare(self):
        return set(self.left)

    async def add(self, address):
        self.present.add(address)
        if address in self.taken:
            raise NetworkError(f"{address}: File exists")

    async def remove(self, address):
        self.present.discard(address)

    async def outgoing(self, client, target):
        return socket.socket()

    async def listen(self, place):
        listener = socket.create_server(place)
        listener.setblocking(False)
        return listener


@contextlib.asynccontextmanager
async def running(addresses, told=()):
    proxy = Proxy(addresses, lambda *problem: told.append(problem))
    task = asyncio.create_task(proxy.run())
    try:
        yield proxy
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def named(name):
    """An endpoint that says its name to each line it gets."""

    async def answer(reader, writer):
        while await reader.readline():
            writer.write(f"{name}\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield Place(*server.sockets[0].getsockname())


@pytest.fixture
def front():
    """A place on an address of our own that nothing listens on."""
    with socket.create_server((WEB, 0)) as probe:
        return Place(*probe.getsockname())


async def ask(streams):
    streams[1].write(b"?\n")
    return (await streams[0].readline()).decode().strip()


async def asked_once(front):
    streams = await asyncio.open_connection(*front)
    try:
        return await ask(streams)
    finally:
        streams[1].close()


async def settle():
    await asyncio.sleep(0.05)


def rule(*targets):
    return Rule("team/web", targets)


async def test_connections_are_spread_and_a_new_rule_counts_for_the_next_one(front):
    async with running(Loopback()) as proxy, named("a") as a, named("b") as b, named("c") as c:
        proxy.follow({front: rule(a, b)}, {WEB})
        await proxy.settled.wait()
        assert sorted([await asked_once(front) for _ in range(4)]) == ["a", "a", "b", "b"]
        proxy.follow({front: rule(c)}, {WEB})
        assert [await asked_once(front) for _ in range(3)] == ["c"] * 3


async def test_an_open_connection_stays_where_it_is(front):
    async with running(Loopback()) as proxy, named("a") as a, named("b") as b:
        proxy.follow({front: rule(a)}, {WEB})
        await proxy.settled.wait()
        streams = await asyncio.open_connection(*front)
        assert await ask(streams) == "a"
        proxy.follow({front: rule(b)}, {WEB})
        await settle()
        assert await ask(streams) == "a"
        proxy.follow({front: rule()}, {WEB})
        await settle()
        assert await ask(streams) == "a"
        streams[1].close()


async def test_a_port_without_endpoints_refuses_until_there_is_one(front):
    async with running(Loopback()) as proxy, named("a") as a:
        proxy.follow({front: rule()}, {WEB})
        await proxy.settled.wait()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*front)
        proxy.follow({front: rule(a)}, {WEB})
        await settle()
        assert await asked_once(front) == "a"
        proxy.follow({front: rule()}, {WEB})
        await settle()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*front)


async def test_an_address_goes_with_its_service_but_not_before_its_last_connection(front):
    addresses = Loopback()
    async with running(addresses) as proxy, named("a") as a:
        proxy.follow({front: rule(a)}, {WEB})
        await proxy.settled.wait()
        streams = await asyncio.open_connection(*front)
        assert await ask(streams) == "a"
        proxy.follow({}, set())
        await settle()
        assert addresses.present == {WEB}
        assert await ask(streams) == "a"
        streams[1].close()
        await settle()
        assert addresses.present == set()


async def test_what_an_earlier_program_left_is_taken_over_or_removed(front):
    addresses = Loopback(left=[WEB, "127.10.0.9"])
    async with running(addresses) as proxy, named("a") as a:
        proxy.follow({front: rule(a)}, {WEB})
        await proxy.settled.wait()
        assert addresses.present == {WEB}
        assert await asked_once(front) == "a"


async def test_an_address_that_another_cluster_holds_is_told_once_and_asked_for_again(front, monkeypatch):
    monkeypatch.setattr(proxy_module, "RETRY_SECONDS", 0.02)
    addresses, told = Loopback(), []
    addresses.taken.add(WEB)
    async with running(addresses, told) as proxy, named("a") as a:
        proxy.follow({front: rule(a)}, {WEB})
        await proxy.settled.wait()
        assert await asked_once(front) == "a"
        await asyncio.sleep(0.1)
        assert told == [(WEB, f"cannot be reached from the host: {WEB}: File exists")]
        addresses.taken.clear()
        await asyncio.sleep(0.1)
        proxy.follow({}, set())
        await settle()
        assert addresses.present == set()


async def test_a_port_that_cannot_be_listened_on_is_told_and_tried_again(front, monkeypatch):
    monkeypatch.setattr(proxy_module, "RETRY_SECONDS", 0.02)
    told = []
    async with running(Loopback(), told) as proxy, named("a") as a:
        with socket.create_server(front):
            proxy.follow({front: rule(a)}, {WEB})
            await proxy.settled.wait()
            assert [address for address, _ in told] == [WEB]
            assert f"port {front.port}" in told[0][1]
        await asyncio.sleep(0.1)
        assert await asked_once(front) == "a"
