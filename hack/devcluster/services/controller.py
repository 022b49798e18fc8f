"""Keeps the EndpointSlices and the Endpoints of every Service as `endpoints` says. A thin shell.

It works on one namespace at a time, whenever something there has changed, and writes what differs. Nothing is
remembered: a write that is refused because another came first is decided anew when the watch tells of that.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import aiohttp

from devcluster.cache import Cache
from devcluster.client import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    PODS,
    SERVICES,
    AlreadyExists,
    ApiError,
    Client,
    Conflict,
    NotFound,
    Resource,
)
from devcluster.services.endpoints import endpoint_slices, endpoints, writes

logger = logging.getLogger(__name__)

Object = dict[str, Any]

RETRY_SECONDS = 0.5
INPUTS = (SERVICES, PODS, ENDPOINT_SLICES, ENDPOINTS)


class EndpointController:
    """Works on what the caches say; `touch` is for their changes."""

    def __init__(self, client: Client, caches: dict[Resource, Cache]) -> None:
        self._client = client
        self._caches = caches
        self._namespaces: set[str] = set()
        self._wake = asyncio.Event()

    def touch(self, namespace: str) -> None:
        """Look at a namespace soon; returns at once."""
        self._namespaces.add(namespace)
        self._wake.set()

    async def run(self) -> None:
        """Write for ever."""
        for resource in INPUTS:
            await self._caches[resource].synced.wait()
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self._namespaces = self._namespaces, set()
            for namespace in sorted(pending):
                await self._bring_up_to_date(namespace)

    async def _bring_up_to_date(self, namespace: str) -> None:
        services = [one for one in self._of(SERVICES, namespace) if not one["metadata"].get("deletionTimestamp")]
        pods = self._of(PODS, namespace)
        wanted_slices = [one for service in services for one in endpoint_slices(service, pods)]
        wanted_endpoints = [one for service in services if (one := endpoints(service, pods)) is not None]
        await self._write(ENDPOINT_SLICES, namespace, wanted_slices)
        await self._write(ENDPOINTS, namespace, wanted_endpoints)

    def _of(self, resource: Resource, namespace: str) -> list[Object]:
        return [obj for key, obj in self._caches[resource].objects.items() if key[0] == namespace]

    async def _write(self, resource: Resource, namespace: str, wanted: list[Object]) -> None:
        todo = writes(wanted, self._of(resource, namespace))
        for obj in todo.create:
            await self._try(namespace, self._client.create(resource, namespace, obj))
        for obj in todo.replace:
            await self._try(namespace, self._client.replace(resource, namespace, obj["metadata"]["name"], obj))
        for gone in todo.delete:
            metadata = gone["metadata"]
            request = self._client.delete(resource, namespace, metadata["name"], uid=metadata["uid"])
            await self._try(namespace, request)

    async def _try(self, namespace: str, request: Awaitable[object]) -> None:
        try:
            await request
        except (AlreadyExists, Conflict, NotFound) as error:
            logger.debug("%s: %s", namespace, error)  # the watch is about to tell of what came first
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            logger.warning("endpoints in %s: %s; trying again", namespace, error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.touch, namespace)
