"""Listens on every address and port of a Service that has endpoints, and forwards what comes. A thin shell.

A change of the rules is in force for the next connection; open ones go on. A port without endpoints is not
listened on, so that connections are refused, and an address stays until its last connection has ended.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import socket
from collections import Counter
from collections.abc import Callable

from devcluster.kubelet.network import NetworkError
from devcluster.services.addresses import Addresses
from devcluster.services.connections import forward, refuse
from devcluster.services.rules import Place, Rule

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""An address that another dev cluster holds is asked for again after this."""
ACCEPT_AGAIN_SECONDS = 0.1


class Proxy:
    """Keeps listeners as the rules say. `tell(address, problem)` is for what cannot be had.

    `settled` is set once the first rules are in force.
    """

    def __init__(self, addresses: Addresses, tell: Callable[[str, str], None]) -> None:
        self._addresses = addresses
        self._tell = tell
        self._rules: dict[Place, Rule] = {}
        self._wanted: set[str] = set()
        self._present: set[str] = set()
        self._complete: set[str] = set()
        self._listeners: dict[Place, asyncio.Task[None]] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._open: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self.settled = asyncio.Event()

    def follow(self, rules: dict[Place, Rule], addresses: set[str]) -> None:
        """Take over new rules and the addresses that Services have; returns at once.

        What is listened on leads to its new targets from now on; the rest follows within milliseconds.
        """
        self._rules, self._wanted = rules, addresses
        self._wake.set()

    async def run(self) -> None:
        """Run for ever. Raises `NetworkError` where the cluster's network is not there."""
        self._present = await self._addresses.prepare()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._remove_unwanted()
                complete = await self._add_wanted()
                if not await self._listen() or not complete:
                    asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
                self.settled.set()
        finally:
            running = (*self._listeners.values(), *self._connections)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _remove_unwanted(self) -> None:
        for place in [place for place in self._listeners if not self._leads_somewhere(place)]:
            listener = self._listeners.pop(place)
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener
        for address in self._present - self._wanted:
            if not self._open[address]:
                await self._addresses.remove(address)
                self._present.discard(address)
                self._complete.discard(address)

    async def _add_wanted(self) -> bool:
        """Add what is missing; whether all of it is there now."""
        for address in sorted(self._wanted - self._complete):
            self._present.add(address)
            try:
                await self._addresses.add(address)
            except NetworkError as error:
                self._tell_once(address, f"cannot be reached from the host: {error}")
            else:
                self._complete.add(address)
        return self._wanted <= self._complete

    async def _listen(self) -> bool:
        """Listen wherever a rule leads somewhere; whether that is so everywhere now."""
        everywhere = True
        for place in sorted(place for place in self._rules if self._leads_somewhere(place)):
            if place in self._listeners:
                continue
            try:
                listener = await self._addresses.listen(place)
            except OSError as error:
                self._tell_once(place.address, f"port {place.port}: {error}")
                everywhere = False
            else:
                self._listeners[place] = asyncio.create_task(self._accept(place, listener), name=f"listen {place}")
        return everywhere

    def _leads_somewhere(self, place: Place) -> bool:
        rule = self._rules.get(place)
        return rule is not None and bool(rule.targets)

    def _tell_once(self, address: str, problem: str) -> None:
        if (address, problem) not in self._told:
            self._told.add((address, problem))
            self._tell(address, problem)

    async def _accept(self, place: Place, listener: socket.socket) -> None:
        """Give each connection its target; closing the listener leaves those that were accepted alone."""
        loop = asyncio.get_running_loop()
        with listener:
            for turn in itertools.count():
                client, (address, _) = await self._next(listener)
                rule = self._rules.get(place)
                if rule is None or not rule.targets:
                    refuse(client)
                    continue
                target = rule.choose(address, turn)
                outgoing = functools.partial(self._addresses.outgoing, address, target)
                connection = loop.create_task(forward(client, target, outgoing))
                self._open[place.address] += 1
                self._connections.add(connection)
                connection.add_done_callback(lambda task: self._ended(place, task))

    async def _next(self, listener: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection; waits where this program has as many open files as it may."""
        while True:
            try:
                return await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:
                logger.warning("a connection to %s waits: %s", listener.getsockname(), error)
                await asyncio.sleep(ACCEPT_AGAIN_SECONDS)

    def _ended(self, place: Place, connection: "asyncio.Task[None]") -> None:
        self._connections.discard(connection)
        self._open[place.address] -= 1
        if not self._open[place.address]:
            del self._open[place.address]
            self._wake.set()
        if not connection.cancelled() and connection.exception() is not None:
            logger.error("a bug ended a connection to %s", place, exc_info=connection.exception())
