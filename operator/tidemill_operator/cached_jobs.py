"""What the watch cache alone says of a job: its snapshot before Ray is asked. Reads values, asks nobody.

Used where one job is looked at, and where all of a namespace share a budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tidemill_api.v1alpha1.queue_status import MeasuredStatus
from tidemill_operator.cache import Key, WatchCache, alike, key_of
from tidemill_operator.core.job_load import own_measures
from tidemill_operator.core.snapshot import Elsewhere, JobView, Snapshot, Tuning
from tidemill_operator.manifests.names import cluster_name
from tidemill_operator.ray_clusters import is_owned
from tidemill_operator.views import count_pods, read_circle, read_cluster, read_source, read_workers

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.deadline.estimates import Measure
    from tidemill_operator.core.snapshot import SourceView

    Json = dict[str, Any]

MOST_MEASURES = 50
"""Other jobs whose measures count, the newest ones: more would say the same, and cost time at every look."""


@dataclass(frozen=True)
class Measures:
    """What one job measured of its workers: rows a second, and seconds to start."""

    of: Key
    rate: Measure | None
    startup: Measure | None


@dataclass(frozen=True)
class _Read:
    version: int
    newest: tuple[Measures, ...]


class CachedJobs:
    """Snapshots by the watch cache. Measures are read once for all jobs alike, and again where one of them changes."""

    def __init__(self, cache: WatchCache, tuning: Tuning) -> None:
        self._cache = cache
        self._tuning = tuning
        self._read: dict[str, _Read] = {}

    def snapshot(self, job: JobView, now: datetime) -> Snapshot:
        """The job with its cluster, its pods, the job it continues, and what others like it measured.

        A RayCluster of that name which is not this job's child is somebody else's, whatever its labels say.
        """
        name = cluster_name(job.name, job.uid)
        standing = self._cache.cluster(job.namespace, name)
        body = standing if standing is not None and is_owned(standing, job.uid) else None
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
        return others(self._measures(alike(own)), key_of(own))

    def _measures(self, of: str) -> tuple[Measures, ...]:
        version = self._cache.measured_version(of)
        if not version:
            self._read.pop(of, None)
            return ()
        read = self._read.get(of)
        if read is None or read.version != version:
            read = self._read[of] = _Read(version, read_measures(self._cache.measured(of)))
        return read.newest


def read_measures(bodies: tuple[Json, ...]) -> tuple[Measures, ...]:
    """The measures in the statuses of these jobs, the newest first: as many as count for any one of them.

    What this operator cannot read counts for none: the look at that job says so loudly.
    """
    told = [(body, measured) for body in bodies if (measured := (body.get("status") or {}).get("measured"))]
    told.sort(key=lambda one: str(one[1].get("observedTime") or ""), reverse=True)
    read = (_measures_in(*one) for one in told)
    return tuple(islice((one for one in read if one is not None), MOST_MEASURES + 1))


def _measures_in(body: Json, measured: Json) -> Measures | None:
    try:
        return Measures(key_of(body), *own_measures(MeasuredStatus.model_validate(measured)))
    except ValidationError:
        return None


def others(measures: tuple[Measures, ...], own: Key) -> Elsewhere:
    """What jobs other than this one measured, the newest of it."""
    count = [one for one in measures if one.of != own][:MOST_MEASURES]
    return Elsewhere(
        rates=tuple(one.rate for one in count if one.rate is not None),
        startups=tuple(one.startup for one in count if one.startup is not None),
    )
