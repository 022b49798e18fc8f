"""One reconcile: observe into a snapshot, plan, apply, write the status once, then the events.

Reads the watch cache, asks Ray where an attempt is open, and hands everything else to pure functions. Remembers
nothing between two looks: whatever was interrupted is found again from what stands in the cluster.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tidemill_operator.apply import ClusterRefusedError, DriverRefusedError, Executor, ScaleRefusedError
from tidemill_operator.cache import Key, WatchCache, Watched, key_of
from tidemill_operator.cluster import JOBS, RAY_CLUSTERS, Cluster
from tidemill_operator.core.attempts import open_attempt
from tidemill_operator.core.plan import Event
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import AttemptState, AttemptView, JobView, Snapshot, Tuning
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.errors import (
    ConflictError,
    KindMissingError,
    ObjectMissingError,
    RayUnavailableError,
    RejectedError,
)
from tidemill_operator.event_writer import write_event
from tidemill_operator.heads import Heads
from tidemill_operator.manifests.names import cluster_name, submission_id
from tidemill_operator.ray_api import HeadAddress
from tidemill_operator.views import count_pods, read_circle, read_cluster, read_job, read_source, read_workers
from tidemill_operator.workqueue import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.config import Settings
    from tidemill_operator.core.plan import Plan
    from tidemill_operator.core.snapshot import SourceView
    from tidemill_operator.ray_api import RayApi

log = logging.getLogger(__name__)

API_REFUSED = (
    "The API server refuses what the operator asks for; it is tried again with back-off: {error}. Where a right is"
    " missing: the chart's roles give all that the operator needs."
)


class Reconciler:
    """Reconciles one key at a time; the queue sees to it that no two of them are the same."""

    def __init__(self, cluster: Cluster, ray: RayApi, cache: WatchCache, settings: Settings) -> None:
        self._cluster = cluster
        self._ray = ray
        self._cache = cache
        self._heads = Heads(cluster, cache)
        self._executor = Executor(cluster, ray, cache, self._heads, settings)
        self._policy = SpecPolicy(
            settings.allow_host_path, settings.allowed_service_accounts, settings.allow_test_engine
        )
        self._tuning = Tuning(
            backoff_min=timedelta(seconds=settings.backoff_min_seconds),
            backoff_max=timedelta(seconds=settings.backoff_max_seconds),
            poll=timedelta(seconds=settings.poll_seconds),
            start_poll=timedelta(seconds=settings.start_poll_seconds),
        )
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC).replace(microsecond=0)

    async def reconcile(self, key: Key) -> Look:
        """Brings one job further.

        Raises PassingError or RejectedError to be called again with back-off; the second is said in an Event first.
        """
        body = self._cache.job(key)
        if body is None:
            return Look()
        job = read_job(body, self._policy)
        try:
            return await self._bring_further(key, body, job)
        except RejectedError as error:
            told = Event("Warning", "ApiRefused", API_REFUSED.format(error=error))
            await write_event(self._cluster, job, told, self._now(), once=True)
            raise

    async def _bring_further(self, key: Key, body: dict[str, Any], job: JobView) -> Look:
        seen = await self._observe(job)
        decided, refused = await self._carry_out(seen)
        wrote = await self._report(key, body, seen, decided)
        if refused:
            log.warning("%s", refused, extra={"key": str(key)})
            await write_event(self._cluster, job, Event("Warning", "ScaleRefused", refused), seen.now, once=True)
        again = decided.recheck_after.total_seconds() if decided.recheck_after is not None else None
        # The watch event of our own write is no news, so whoever waits for this job's end is told here.
        ends = wrote and decided.status.completion_time is not None and job.status.completion_time is None
        return Look(again, wrote, self._cache.dependents(key) if ends else ())

    async def _carry_out(self, seen: Snapshot) -> tuple[Plan, str]:
        """Decides and acts: the plan whose status is to be written, and what to tell of a scaling that was refused.

        What was refused is decided anew with that in sight. A plan that knows of a refused cluster or driver asks for
        neither again.
        """
        decided = plan(seen)
        try:
            for action in decided.actions:
                await self._executor.execute(action, seen.job)
        except ClusterRefusedError as error:
            return await self._carry_out(replace(seen, rejection=error.rejection))
        except DriverRefusedError as error:
            return await self._carry_out(replace(seen, submit_problem=str(error), submit_refused=error.final))
        except ScaleRefusedError as error:
            return _not_scaled(decided), str(error)
        return decided, ""

    async def _report(self, key: Key, body: dict[str, Any], seen: Snapshot, decided: Plan) -> bool:
        """Writes the status where it says something new, and the events only once it is written."""
        news = decided.status != seen.job.status
        if news:
            status = decided.status.model_dump(mode="json", by_alias=True)
            try:
                self._cache.put(Watched.JOBS, await self._cluster.patch_status(body, status))
            except (ObjectMissingError, KindMissingError):
                log.info("the job is gone", extra={"key": str(key)})
                self._cache.drop(Watched.JOBS, key)
                return False
            except ConflictError:
                await self._refresh_job(key)
                raise
        for event in decided.events:
            await write_event(self._cluster, seen.job, event, seen.now)
        return news

    async def _observe(self, job: JobView) -> Snapshot:
        """Everything a decision needs, at this moment."""
        seen = self._from_cache(job)
        if not open_attempt(job.status.driver) or job.spec is None or job.status.completion_time is not None:
            return seen
        if seen.cluster is None:
            return replace(seen, attempt=AttemptView(AttemptState.LOST))
        if not seen.cluster.head_ip:
            return replace(seen, attempt=AttemptView(AttemptState.UNKNOWN, problem="the head pod is not ready."))
        asked = await self._ask_ray(seen, seen.cluster.head_ip)
        if asked.attempt.state is AttemptState.UNKNOWN:
            self._heads.forget(job)
            await self._refresh(seen.cluster.name, job.namespace)
        return asked

    def _from_cache(self, job: JobView) -> Snapshot:
        name = cluster_name(job.name, job.uid)
        body = self._cache.cluster(job.namespace, name)
        pods = self._cache.pods(job.namespace, name)
        return Snapshot(
            now=self._now(),
            job=job,
            tuning=self._tuning,
            cluster=read_cluster(body, pods) if body is not None else None,
            workers=read_workers(pods),
            pods=count_pods(pods),
            source=self._source(job),
        )

    def _source(self, job: JobView) -> SourceView | None:
        """The job that this one continues, and whether they wait for each other."""
        key = Key(job.namespace, job.name)
        own, source = self._cache.job(key), self._cache.source_of(key)
        if job.spec is None or own is None or source is None:
            return None
        circle = read_circle(own, lambda body: self._cache.source_of(key_of(body)))
        return replace(read_source(source), circle=circle)

    async def _ask_ray(self, seen: Snapshot, head_ip: str) -> Snapshot:
        """The open attempt: its live figures alone while it publishes any, else what Ray knows of it."""
        driver = seen.job.status.driver
        number = driver.attempt
        without_token = HeadAddress(head_ip, "")  # the figures need none
        metrics, problem = await self._ray.metrics(without_token, f"{seen.job.namespace}/{seen.job.name}", number)
        if metrics is not None:
            return replace(seen, attempt=AttemptView(AttemptState.ACTIVE), metrics=metrics)
        try:
            head = await self._heads.head(seen.job, head_ip)
        except RayUnavailableError as error:
            return replace(seen, attempt=AttemptView(AttemptState.UNKNOWN, problem=f"{error}."))
        attempt = await self._ray.attempt(head, submission_id(seen.job.uid, number, driver.ending))
        return replace(seen, attempt=attempt, metrics_problem=problem)

    async def _refresh_job(self, key: Key) -> None:
        """Somebody wrote the job first: the next try starts from what stands there, whether or not a watch tells it."""
        try:
            self._cache.put(Watched.JOBS, await self._cluster.get(JOBS, key.namespace, key.name))
        except (ObjectMissingError, KindMissingError):
            self._cache.drop(Watched.JOBS, key)

    async def _refresh(self, name: str, namespace: str) -> None:
        """Ray is silent: perhaps the cluster is gone and its watch event was missed."""
        try:
            body = await self._cluster.get(RAY_CLUSTERS, namespace, name)
        except (ObjectMissingError, KindMissingError):
            self._cache.drop(Watched.CLUSTERS, Key(namespace, name))
            raise ConflictError(f"RayCluster {namespace}/{name} is gone") from None
        self._cache.put(Watched.CLUSTERS, body)


def _not_scaled(decided: Plan) -> Plan:
    """The plan without its scaling: the status is written all the same, a later look tries again."""
    return replace(decided, events=tuple(event for event in decided.events if event.reason != "Scaled"))
