"""What the watch cache alone says of a job: its snapshot before Ray is asked. Reads values, asks nobody.

Used where one job is looked at, and where all of a namespace share a budget.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tidemill_api.v1alpha1.queue_status import MeasuredStatus
from tidemill_operator.cache import Key, WatchCache, key_of
from tidemill_operator.core.job_load import own_measures
from tidemill_operator.core.snapshot import Elsewhere, JobView, Snapshot, Tuning
from tidemill_operator.manifests.names import cluster_name
from tidemill_operator.views import count_pods, read_circle, read_cluster, read_source, read_workers

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.snapshot import SourceView

    Json = dict[str, Any]

MOST_MEASURES = 50
"""Other jobs whose measures count, the newest ones: more would say the same, and cost time at every look."""


class CachedJobs:
    """Snapshots by the watch cache."""

    def __init__(self, cache: WatchCache, tuning: Tuning) -> None:
        self._cache = cache
        self._tuning = tuning

    def snapshot(self, job: JobView, now: datetime) -> Snapshot:
        """The job with its cluster, its pods, the job it continues, and what others like it measured."""
        name = cluster_name(job.name, job.uid)
        body = self._cache.cluster(job.namespace, name)
        pods = self._cache.pods(job.namespace, name)
        return Snapshot(
            now=now,
            job=job,
            tuning=self._tuning,
            cluster=read_cluster(body, pods) if body is not None else None,
            workers=read_workers(pods),
            pods=count_pods(pods),
            source=self._source(job),
            elsewhere=self._elsewhere(job),
        )

    def _source(self, job: JobView) -> SourceView | None:
        """The job that this one continues, and whether they wait for each other."""
        key = Key(job.namespace, job.name)
        own, source = self._cache.job(key), self._cache.source_of(key)
        if job.spec is None or own is None or source is None:
            return None
        circle = read_circle(own, lambda body: self._cache.source_of(key_of(body)))
        return replace(read_source(source), circle=circle)

    def _elsewhere(self, job: JobView) -> Elsewhere:
        """What other jobs of the same model and resources measured; a job that has ended asks for none."""
        own = self._cache.job(Key(job.namespace, job.name))
        if own is None or job.spec is None or job.status.completion_time is not None:
            return Elsewhere()
        return read_measures(self._cache.measured_like(own))


def read_measures(bodies: tuple[Json, ...]) -> Elsewhere:
    """The measures in the statuses of these jobs, the newest ones."""
    told = [measured for body in bodies if (measured := (body.get("status") or {}).get("measured"))]
    told.sort(key=lambda measured: str(measured.get("observedTime") or ""), reverse=True)
    pairs = [own_measures(MeasuredStatus.model_validate(measured)) for measured in told[:MOST_MEASURES]]
    return Elsewhere(
        rates=tuple(rate for rate, _ in pairs if rate is not None),
        startups=tuple(startup for _, startup in pairs if startup is not None),
    )
