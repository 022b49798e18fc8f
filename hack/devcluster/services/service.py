"""Ties controller and proxy to one API server: the watches they share, and what a change of each kind wakes."""

import asyncio
import contextlib
import functools
from typing import Any

from devcluster.cache import Cache
from devcluster.client import ENDPOINT_SLICES, SERVICES, Client, Resource
from devcluster.kubelet.events import Event, EventRecorder
from devcluster.kubelet.network import Subnet
from devcluster.services.addresses import Addresses
from devcluster.services.controller import INPUTS, EndpointController
from devcluster.services.proxy import Proxy
from devcluster.services.rules import cluster_address, rules

Object = dict[str, Any]

ROUTED = (SERVICES, ENDPOINT_SLICES)
"""What the proxy's rules are made of."""


class Services:
    """Runs against one API server until cancelled; `ready` is set once every Service's address answers."""

    def __init__(self, client: Client, subnet: Subnet) -> None:
        self._caches = {
            resource: Cache(client, resource, on_change=functools.partial(self._on_change, resource))
            for resource in INPUTS
        }
        self._controller = EndpointController(client, self._caches)
        self._proxy = Proxy(Addresses(subnet), self._tell)
        self._recorder = EventRecorder(client, "service-proxy")
        self.ready = self._proxy.settled

    async def run(self) -> None:
        """Run until cancelled. Raises `NetworkError` where the pods' network is not there."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._recorder)
            for cache in self._caches.values():
                await stack.enter_async_context(cache)
            for resource in ROUTED:
                await self._caches[resource].synced.wait()
            self._follow()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._controller.run())
                group.create_task(self._proxy.run())

    def _on_change(self, resource: Resource, _kind: str, obj: Object) -> None:
        self._controller.touch(obj["metadata"]["namespace"])
        if resource in ROUTED and all(self._caches[one].synced.is_set() for one in ROUTED):
            self._follow()

    def _follow(self) -> None:
        services = list(self._caches[SERVICES].objects.values())
        addresses = {address for one in services if (address := cluster_address(one))}
        self._proxy.follow(rules(services, self._caches[ENDPOINT_SLICES].objects.values()), addresses)

    def _tell(self, address: str, problem: str) -> None:
        """Record an event on the Service of an address."""
        for service in self._caches[SERVICES].objects.values():
            if cluster_address(service) == address:
                self._recorder.record(service, Event("Warning", "AddressNotServed", f"{address} {problem}"))
