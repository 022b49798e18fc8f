"""Events about Pods and other objects, written in the background; the same one again only raises its count."""

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp

from devcluster.client import EVENTS, ApiError, Client, NotFound

logger = logging.getLogger(__name__)

REMEMBERED = 2000
"""Distinct events whose counts are kept; older ones start anew."""


@dataclass(frozen=True)
class Event:
    """One thing worth telling about an object; `field` names the container concerned."""

    kind: str
    reason: str
    message: str
    field: str = ""


class EventRecorder:
    """Writes events of one component. An async context manager: it writes while inside, and at the end gives up.

    A lost event is a warning in the log, never a fault of what it was about.
    """

    def __init__(self, client: Client, component: str) -> None:
        self._client = client
        self._component = component
        self._queue: asyncio.Queue[tuple[dict[str, Any], Event]] = asyncio.Queue(maxsize=10_000)
        self._counts: OrderedDict[tuple[str, Event], tuple[str, int]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_for_ever(), name=f"events of {self._component}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    def record(self, obj: Mapping[str, Any], event: Event) -> None:
        """Tell about an object; returns at once."""
        metadata = obj["metadata"]
        involved = {
            "apiVersion": obj.get("apiVersion", "v1"),
            "kind": obj.get("kind", "Pod"),
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
        } | ({"fieldPath": f"spec.containers{{{event.field}}}"} if event.field else {})
        try:
            self._queue.put_nowait((involved, event))
        except asyncio.QueueFull:
            logger.warning("event lost, too many are waiting: %s %s", metadata["name"], event)

    async def _write_for_ever(self) -> None:
        while True:
            involved, event = await self._queue.get()
            try:
                await self._write(involved, event)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                logger.warning("event lost: %s %s: %s", involved["name"], event, error)

    async def _write(self, involved: dict[str, Any], event: Event) -> None:
        key = involved["uid"] or involved["name"], event
        namespace = involved["namespace"] or "default"
        name, count = self._counts.get(key, ("", 0))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            if name:
                await self._client.patch(EVENTS, namespace, name, {"count": count + 1, "lastTimestamp": now})
        except NotFound:  # events are deleted after a while, or by hand
            name, count = "", 0
        if not name:
            name = f"{involved['name'][:200]}.{uuid.uuid4().hex[:16]}"
            await self._client.create(EVENTS, namespace, self._body(namespace, name, involved, event, now))
        self._counts[key] = name, count + 1
        self._counts.move_to_end(key)
        while len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)

    def _body(self, namespace: str, name: str, involved: dict[str, Any], event: Event, now: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": name},
            "involvedObject": involved,
            "type": event.kind,
            "reason": event.reason,
            "message": event.message[:1024],
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
