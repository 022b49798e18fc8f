"""One kind of owner as the watches see it, and its full comparison with the API server: at start, and now and then.

The comparison finds the events that a watch missed. Refuses to decide, and to remember more than whether KubeRay was
there: what it finds goes the way of a watch event.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_operator.cache import WatchCache, Watched, key_of
from tidemill_operator.errors import ApiUnavailableError, KindMissingError, RejectedError
from tidemill_operator.handlers import Feed
from tidemill_operator.ray_clusters import KUBERAY_MISSING

if TYPE_CHECKING:
    from tidemill_operator.cluster import Cluster, Resource
    from tidemill_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 15.0

KUBERAY_CAME = "KubeRay is installed now: what waited for it goes on"
HOW_TO_INSTALL = "helm upgrade the chart with crds.install=true, or kubectl apply --server-side -f crds/"

Watches = tuple[tuple[Watched, "Resource", str], ...]
"""What is watched: its place in the cache, the kind, and the selector of those that are ours. The owners come last."""


@dataclass(frozen=True)
class Side:
    """One kind of owner: its cache, its queue, and what feeds them."""

    cache: WatchCache
    queue: WorkQueue
    feed: Feed
    watches: Watches

    @classmethod
    def of(cls, cache: WatchCache, queue: WorkQueue, watches: Watches) -> Side:
        """The side with its feed."""
        return cls(cache, queue, Feed(cache, queue), watches)


class Notice:
    """Says that KubeRay is missing, and that it came: each once."""

    def __init__(self) -> None:
        self._there = True

    def kuberay(self, *, there: bool) -> None:
        """What a comparison found."""
        if there != self._there:
            log.warning("%s", KUBERAY_CAME if there else f"{KUBERAY_MISSING} Jobs and endpoints wait for it.")
        self._there = there


@dataclass(frozen=True)
class Scope:
    """Where to look: no namespace means all. `seconds` are those between two comparisons."""

    cluster: Cluster
    namespaces: tuple[str, ...]
    seconds: float
    notice: Notice = field(default_factory=Notice)


class Comparison:
    """Fills the cache of one side and keeps it true; serves what it holds (`governing.Follower`)."""

    def __init__(self, scope: Scope, side: Side) -> None:
        self._scope = scope
        self._side = side

    @property
    def name(self) -> str:
        """The owners' plural."""
        return self._side.watches[-1][1].plural

    async def fill(self) -> None:
        """Fills the cache before anything is decided; waits for an API server or CRD that is not there yet."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._once()
            except (ApiUnavailableError, KindMissingError, RejectedError) as error:
                log.warning("cannot list yet, tried again in %.0f s: %s", delay, error)
            else:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY_SECONDS)

    async def follow(self) -> None:
        """Compares again and again."""
        seconds = self._scope.seconds
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._once()
            except (ApiUnavailableError, KindMissingError, RejectedError) as error:
                log.warning("the full comparison failed, tried again in %.0f s: %s", seconds, error)

    async def serve(self) -> None:
        """Looks at all that the cache holds, and then at every change."""
        self._side.feed.wake_all()
        await self._side.queue.run()

    async def _once(self) -> None:
        """One comparison. Raises KindMissingError where our own CRD is missing; KubeRay's may be."""
        side = self._side
        namespaces: tuple[str | None, ...] = self._scope.namespaces or (None,)
        for kind, resource, selector in side.watches:
            before, found = side.cache.keys(kind), set()
            try:
                for namespace in namespaces:
                    async for body in self._scope.cluster.list_all(resource, namespace, selector):
                        side.feed.seen(kind, body)
                        found.add(key_of(body))
            except KindMissingError:
                if kind is Watched.JOBS:
                    raise KindMissingError(f"the CRD of {resource.plural} is not installed: {HOW_TO_INSTALL}") from None
                self._scope.notice.kuberay(there=False)
            else:
                if kind is Watched.CLUSTERS:
                    self._scope.notice.kuberay(there=True)
            for key in before - found:
                side.feed.vanished(kind, key)
