"""One reconcile: observe into a snapshot, plan, apply, write the status once, then the events.

What is seen comes from `observer.py`, what is decided from a pure function, what is done is `apply.py`'s. Remembers
nothing between two looks: whatever was interrupted is found again from what stands in the cluster.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.batch_inference_job import KIND
from tidemill_operator.apply import ClusterRefusedError, DriverRefusedError, Executor
from tidemill_operator.budgets import Budgets
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cached_jobs import CachedJobs
from tidemill_operator.cluster import JOBS, Cluster
from tidemill_operator.core.plan import Event
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import JobView, Snapshot, Tuning
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.errors import ConflictError, KindMissingError, ObjectMissingError, RejectedError
from tidemill_operator.event_writer import write_event
from tidemill_operator.heads import Heads
from tidemill_operator.metrics import count_decision
from tidemill_operator.network_policies import NetworkPolicies
from tidemill_operator.observer import Observer
from tidemill_operator.ray_clusters import ScaleRefusedError
from tidemill_operator.sharing import Sharing
from tidemill_operator.views import read_job
from tidemill_operator.workqueue import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.config import Settings
    from tidemill_operator.core.plan import Plan
    from tidemill_operator.ray_api import RayApi

log = logging.getLogger(__name__)

OUTDATED = "A new job of this spec would be refused; this one has begun and goes on. {problem}"

API_REFUSED = (
    "The API server refuses what the operator asks for; it is tried again with back-off: {error}. Where a right is"
    " missing: the chart's roles give all that the operator needs."
)


class Reconciler:
    """Reconciles one key at a time; the queue sees to it that no two of them are the same."""

    def __init__(
        self,
        cluster: Cluster,
        ray: RayApi,
        cache: WatchCache,
        settings: Settings,
        endpoints: WatchCache | None = None,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        heads = Heads(cluster, cache)
        self._policies = NetworkPolicies(cluster, cache, settings)
        self._executor = Executor(cluster, ray, cache, heads, settings)
        self._policy = SpecPolicy(
            settings.allow_host_path,
            settings.allowed_service_accounts,
            settings.allow_test_engine,
            settings.kueue_elastic_jobs,
        )
        tuning = Tuning(
            backoff_min=timedelta(seconds=settings.backoff_min_seconds),
            backoff_max=timedelta(seconds=settings.backoff_max_seconds),
            poll=timedelta(seconds=settings.poll_seconds),
            start_poll=timedelta(seconds=settings.start_poll_seconds),
        )
        seen = CachedJobs(cache, tuning)
        self._observer = Observer(cluster, ray, cache, heads, seen)
        self._sharing = Sharing(cache, endpoints or WatchCache(realtime_endpoint.KIND), seen, self._policy)
        self._budgets = Budgets(cluster, settings.gpu_limit)
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
        try:
            decided, wrote = await self._decide(key, body, job)
        except Exception:  # whatever it is, it is raised again: pods must not be without their policy meanwhile
            await self._policies.look_after_all_the_same(key, job, self._now())
            raise
        kept = await self._policies.look_after(key, job, self._now())
        again = kept.sooner(decided.recheck_after.total_seconds() if decided.recheck_after is not None else None)
        # The watch event of our own write is no news, so whoever waits for this job's end is told here.
        ends = wrote and decided.status.completion_time is not None and job.status.completion_time is None
        return Look(again, wrote, self._cache.dependents(key) if ends else ())

    async def _decide(self, key: Key, body: dict[str, Any], job: JobView) -> tuple[Plan, bool]:
        """Observes, plans, acts and says so: the plan, and whether the status was written."""
        seen = await self._observer.observe(job, self._now())
        if seen.metrics is not None and seen.metrics.phase == "processing":
            share = await self._sharing.share_of(job, self._budgets, seen.now)
            seen = replace(seen, share=share, turn=await self._sharing.turn_of(job, self._budgets, seen.now))
        decided, refused = await self._carry_out(seen)
        wrote = await self._report(key, body, seen, decided)
        if refused:
            log.warning("%s", refused, extra={"key": str(key)})
            await write_event(self._cluster, job, Event("Warning", "ScaleRefused", refused), seen.now, once=True)
        if wrote and job.outdated:  # not at every look: it has been told for as long as the Event stands
            note = Event("Warning", "OutdatedSpec", OUTDATED.format(problem=job.outdated))
            await write_event(self._cluster, job, note, seen.now, once=True)
        return decided, wrote

    async def _carry_out(self, seen: Snapshot) -> tuple[Plan, str]:
        """Decides and acts: the plan whose status is to be written, and what to tell of a scaling that was refused.

        What was refused is decided anew with that in sight. A plan that knows of a refused cluster or driver asks for
        neither again.
        """
        decided = plan(seen)
        try:
            for action in decided.actions:
                await self._executor.execute(action, seen.job)
                count_decision(KIND, action, decided.status.conditions, seen.job.status.workers.desired)
        except ClusterRefusedError as error:
            return await self._carry_out(replace(seen, rejection=error.rejection))
        except DriverRefusedError as error:
            return await self._carry_out(replace(seen, submit_problem=str(error), submit_refused=error.final))
        except ScaleRefusedError as error:
            return _not_scaled(decided), "" if error.again else str(error)
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

    async def _refresh_job(self, key: Key) -> None:
        """Somebody wrote the job first: the next try starts from what stands there, whether or not a watch tells it."""
        try:
            self._cache.put(Watched.JOBS, await self._cluster.get(JOBS, key.namespace, key.name))
        except (ObjectMissingError, KindMissingError):
            self._cache.drop(Watched.JOBS, key)


def _not_scaled(decided: Plan) -> Plan:
    """The plan without its scaling: the status is written all the same, a later look tries again."""
    return replace(decided, events=tuple(event for event in decided.events if event.reason != "Scaled"))
