"""The addresses of Services on this machine: they stand in the switch's network namespace, beside the pods' cables.

A route there makes an address local, so that the switch answers for it wherever a pod asks, and a port where
nobody listens is refused at once; a second route leads the host there. No link carries the addresses, and no
rule of a firewall is needed. The routes bear a number of their own, by which a restarted program knows them.

What the proxy opens for a client comes from the client's stand-in address, which stands in the switch as well: pods
have no other way back to it than the switch, and NetworkPolicies know by it whom they judge.

Two dev clusters on one machine may have given the same address away. The host can then reach only one of them by
it; the pods of each reach their own.
"""

import asyncio
import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor

from devcluster.kubelet import system_calls as calls
from devcluster.kubelet.network import NAMESPACES, STAND_IN_BYTES, SWITCH, NetworkError, Subnet, run_command
from devcluster.services.rules import Place

PROTOCOL = "77"
"""Marks our routes, as ip-route(8) says of `proto`; no routing daemon has this number."""
BACKLOG = 1024
IP_BIND_ADDRESS_NO_PORT = 24
"""Of ip(7), missing in Python 3.11: the port is chosen at connect, so that one serves towards many endpoints."""


class Addresses:
    """Adds and removes the addresses of one dev cluster's Services, and listens on them."""

    def __init__(self, subnet: Subnet) -> None:
        self._subnet = subnet
        self._inside = ThreadPoolExecutor(1, "switch", self._enter)

    def _enter(self) -> None:
        """Move a thread into the switch's namespace for good: the sockets it opens stay there."""
        calls.enter_namespace(str(NAMESPACES / self._subnet.name), calls.CLONE_NEWNET)

    async def prepare(self) -> set[str]:
        """Make the switch ready for addresses; returns those that an earlier program left.

        Raises `NetworkError` where the switch is not there.
        """
        name = self._subnet.name
        stand_ins = f"{STAND_IN_BYTES}.{self._subnet.third}.0/24"
        own = f"02:00:0a:4d:{self._subnet.third:02x}:00"  # else it changes with the cables, and neighbours lose it
        set_up = (
            f"link set {SWITCH} address {own}\nlink set lo up\n"
            f"route replace {self._subnet.address(0)}/24 dev {SWITCH}\n"
            f"route replace local {stand_ins} dev lo\n"
        )
        await run_command("ip", "-n", name, "-batch", "-", stdin=set_up)
        await run_command("ip", "route", "replace", stand_ins, "dev", name, "src", self._subnet.host_address)
        marked = ("proto", PROTOCOL)
        inside = await run_command("ip", "-n", name, "-j", "route", "show", "table", "local", *marked)
        outside = await run_command("ip", "-j", "route", "show", "dev", name, *marked)
        return {route["dst"] for text in (inside, outside) for route in json.loads(text or "[]")}

    async def add(self, address: str) -> None:
        """Make an address reachable, from the pods and then from the host.

        Raises `NetworkError` where that is not possible; from the host, where another cluster has the address.
        """
        name = self._subnet.name
        await run_command("ip", "-n", name, "route", "replace", "local", address, "dev", "lo", "proto", PROTOCOL)
        try:
            way = ("dev", name, "src", self._subnet.host_address, "proto", PROTOCOL)
            await run_command("ip", "route", "add", address, *way)
        except NetworkError as error:
            if "File exists" not in str(error):
                raise
            if not await self._leads_here(address):
                told = f"this machine leads {address} elsewhere, perhaps to another dev cluster"
                raise NetworkError(told) from error

    async def _leads_here(self, address: str) -> bool:
        """Whether the host's route to an address, which exists, is ours."""
        routes = json.loads(await run_command("ip", "-j", "route", "show", address) or "[]")
        return any(route.get("dev") == self._subnet.name for route in routes)

    async def remove(self, address: str) -> None:
        """Make an address unreachable, from the host and from the pods; nothing to do where it is so already."""
        name = self._subnet.name
        marked = ("proto", PROTOCOL)
        with contextlib.suppress(NetworkError):
            await run_command("ip", "route", "delete", address, "dev", name, *marked)
        with contextlib.suppress(NetworkError):
            await run_command("ip", "-n", name, "route", "delete", "local", address, "dev", "lo", *marked)

    async def listen(self, place: Place) -> socket.socket:
        """A listening socket on an address that was added. Raises OSError."""
        return await asyncio.get_running_loop().run_in_executor(self._inside, _listen, place)

    async def outgoing(self, client: str, target: Place) -> socket.socket:
        """A socket, not yet connected, from which an endpoint is reached on behalf of a client.

        What is neither a pod nor this machine's address among them can only be reached from outside of the switch.
        """
        if not (self._subnet.holds(client) and self._subnet.holds(target.address)):
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        stand_in = self._subnet.stand_in(client)
        return await asyncio.get_running_loop().run_in_executor(self._inside, _from, stand_in)


def _from(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        opened.bind((address, 0))
    except OSError:
        opened.close()
        raise
    return opened


def _listen(place: Place) -> socket.socket:
    listener = socket.create_server(place, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
