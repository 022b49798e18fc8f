"""Ends Serve where a revision is gone and its pods finish: on an endpoint that was deleted, or after a rollout.

A pod that is told to go drains for as long as a replica of Serve is on it, and Serve moves replicas of a draining node
elsewhere before it stops them: with the whole cluster going, there is no elsewhere, and the pods would stay until their
drain is over. Told to end, Serve lets each replica answer what it has and stops it, and the pods go. What is to be
told is seen in the watch cache, nothing is remembered; where nobody is there to tell it, the drain ends it all.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from tidemill_api import labels
from tidemill_operator.cache import cluster_key
from tidemill_operator.errors import RayRefusedError, RayUnavailableError

if TYPE_CHECKING:
    from tidemill_operator.cache import Key, WatchCache
    from tidemill_operator.heads import Heads
    from tidemill_operator.ray_api import HeadAddress
    from tidemill_operator.serve_api import ServeApi

    Json = dict[str, Any]

log = logging.getLogger(__name__)


class Farewell:
    """Tells Serve on heads whose RayCluster is gone to end. Telling it again does no harm."""

    def __init__(self, serve: ServeApi, cache: WatchCache, heads: Heads) -> None:
        self._serve = serve
        self._cache = cache
        self._heads = heads

    async def say(self, owner: Key) -> bool:
        """To all leaving heads of this endpoint, whether the endpoint still stands or not; False if there is none."""
        heads = [head for pod in self._cache.pods_without_cluster(owner) if (head := self._leaving(pod)) is not None]
        await asyncio.gather(*(self._end(owner, head) for head in heads))
        return bool(heads)

    def _leaving(self, pod: Json) -> HeadAddress | None:
        metadata, ip = pod["metadata"], (pod.get("status") or {}).get("podIP")
        is_head = metadata["labels"].get(labels.ROLE) == "head"
        if not is_head or not ip or "deletionTimestamp" not in metadata:
            return None
        return self._heads.known(cluster_key(pod), ip)

    async def _end(self, owner: Key, head: HeadAddress) -> None:
        try:
            await self._serve.end(head)
        except (RayUnavailableError, RayRefusedError) as error:
            log.debug("Serve on a leaving head does not say that it has ended: %s", error, extra={"key": str(owner)})
