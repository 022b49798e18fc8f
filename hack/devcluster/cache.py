"""What a watch says, kept as a dictionary: the memory of the dev cluster's controllers.

Sits on `client.py`, which lists, watches and starts anew; refuses to write and to interpret what it holds.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from devcluster.client import Client, Key, Object, Resource, remember

logger = logging.getLogger(__name__)


def _report(task: "asyncio.Task[None]") -> None:
    """Say loudly that a watch ended by a bug; nobody awaits it until the cache is closed."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s ended by a bug", task.get_name(), exc_info=task.exception())


@dataclass
class Cache:
    """What a watch says, as a dictionary by (namespace, name). An async context manager: it watches inside.

    `on_change(type, object)` is called for each event, after `objects` holds it. `synced` is set once the
    first list is in; `changed` is set at each event, and cleared by whoever waits for it.
    """

    client: Client
    resource: Resource
    namespace: str | None = None
    label_selector: str = ""
    on_change: Callable[[str, Object], None] | None = None
    objects: dict[Key, Object] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _task: "asyncio.Task[None] | None" = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"watch {self.resource.plural}")
        self._task.add_done_callback(_report)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def get(self, namespace: str, name: str) -> Object | None:
        """The object as last seen, or None."""
        return self.objects.get((namespace, name))

    async def run(self) -> None:
        """Watch for ever. Only a bug in `on_change` ends it, loudly."""
        async for kind, obj in self.client.watch(self.resource, self.namespace, self.label_selector):
            if kind == "SYNCED":
                self.synced.set()
            else:
                remember(self.objects, kind, obj)
                if self.on_change is not None:
                    self.on_change(kind, obj)
            self.changed.set()
