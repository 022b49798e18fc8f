"""Gathers the snapshot that a plan is made from: from the watch cache, and from Ray where an attempt is open.

Asks only: it writes nothing to the API server and decides nothing. What cannot be seen comes back as such, never as
zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill_operator.core.attempts import open_attempt
from tidemill_operator.core.snapshot import AttemptState, AttemptView
from tidemill_operator.errors import RayUnavailableError
from tidemill_operator.heads import cluster_of
from tidemill_operator.manifests.names import submission_id
from tidemill_operator.ray_api import HeadAddress
from tidemill_operator.ray_clusters import look_again

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.cache import WatchCache
    from tidemill_operator.cached_jobs import CachedJobs
    from tidemill_operator.cluster import Cluster
    from tidemill_operator.core.snapshot import JobView, Snapshot
    from tidemill_operator.heads import Heads
    from tidemill_operator.ray_api import RayApi


class Observer:
    """Observes one job at a time; where Ray is silent, the cache is brought up to date for the next look."""

    def __init__(self, cluster: Cluster, ray: RayApi, cache: WatchCache, heads: Heads, seen: CachedJobs) -> None:
        self._cluster = cluster
        self._ray = ray
        self._cache = cache
        self._heads = heads
        self._seen = seen

    async def observe(self, job: JobView, now: datetime) -> Snapshot:
        """Everything a decision needs, at this moment.

        Raises ConflictError where the RayCluster turns out to be gone: what the cache held of it is forgotten then.
        """
        seen = self._seen.snapshot(job, now)
        if not open_attempt(job.status.driver) or job.spec is None or job.status.completion_time is not None:
            return seen
        if seen.cluster is None:
            return replace(seen, attempt=AttemptView(AttemptState.LOST))
        if not seen.cluster.head_ip:
            return replace(seen, attempt=AttemptView(AttemptState.UNKNOWN, problem="the head pod is not ready."))
        asked = await self._ask_ray(seen, seen.cluster.head_ip)
        if asked.attempt.state is AttemptState.UNKNOWN:
            self._heads.forget(cluster_of(job))
            await look_again(self._cluster, self._cache, cluster_of(job))
        return asked

    async def _ask_ray(self, seen: Snapshot, head_ip: str) -> Snapshot:
        """The open attempt: its live figures alone while it publishes any, else what Ray knows of it."""
        driver = seen.job.status.driver
        number = driver.attempt
        without_token = HeadAddress(head_ip, "")  # the figures need none
        metrics, problem = await self._ray.metrics(without_token, f"{seen.job.namespace}/{seen.job.name}", number)
        if metrics is not None:
            return replace(seen, attempt=AttemptView(AttemptState.ACTIVE), metrics=metrics)
        try:
            head = await self._heads.head(cluster_of(seen.job), head_ip)
        except RayUnavailableError as error:
            return replace(seen, attempt=AttemptView(AttemptState.UNKNOWN, problem=f"{error}."))
        attempt = await self._ray.attempt(head, submission_id(seen.job.uid, number, driver.ending))
        return replace(seen, attempt=attempt, metrics_problem=problem)
