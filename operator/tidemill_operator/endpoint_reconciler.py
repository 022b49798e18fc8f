"""One reconcile of an endpoint: observe into a snapshot, plan, apply, write the status once, then the events.

Reads the watch cache, asks the Ray of each revision, and hands everything else to pure functions. Remembers nothing
between two looks: whatever was interrupted is found again from what stands in the cluster.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tidemill_api.v1alpha1.realtime_endpoint import KIND
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import ENDPOINTS, Cluster
from tidemill_operator.core.endpoint.plan import ScaleServe
from tidemill_operator.core.endpoint.planner import plan
from tidemill_operator.core.plan import Event
from tidemill_operator.core.snapshot import Tuning
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.endpoint_observer import EndpointObserver
from tidemill_operator.endpoint_views import read_endpoint
from tidemill_operator.errors import (
    ConflictError,
    KindMissingError,
    ObjectMissingError,
    RayRefusedError,
    RayUnavailableError,
    RejectedError,
)
from tidemill_operator.event_writer import write_event
from tidemill_operator.farewell import Farewell
from tidemill_operator.heads import Heads
from tidemill_operator.metrics import count_decision
from tidemill_operator.network_policies import NetworkPolicies
from tidemill_operator.ray_clusters import ScaleRefusedError
from tidemill_operator.revision_writes import RevisionRefusedError, RevisionWriter, ServiceRefusedError
from tidemill_operator.sharing import room_of_endpoint
from tidemill_operator.workqueue import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.config import Settings
    from tidemill_operator.core.endpoint.plan import EndpointPlan
    from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot, EndpointView
    from tidemill_operator.serve_api import ServeApi

    Json = dict[str, Any]

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two looks at the figures of an endpoint, at most: the target age may be crossed at any moment."""

FAREWELL_SECONDS = 2.0
"""Between two times that Serve on a leaving head is told to end: what it says is lost with the head."""

OUTDATED = "A new revision of this spec would be refused; this one was made before and is kept. {problem}"

REFUSED = "The API server refuses what the operator asks for; it is tried again with back-off: {error}."


class EndpointReconciler:
    """Reconciles one key at a time; the queue sees to it that no two of them are the same."""

    def __init__(self, cluster: Cluster, serve: ServeApi, cache: WatchCache, settings: Settings) -> None:
        self._cluster = cluster
        self._cache = cache
        heads = Heads(cluster, cache)
        self._policies = NetworkPolicies(cluster, cache, settings)
        self._writer = RevisionWriter(cluster, serve, cache, heads, settings)
        self._farewell = Farewell(serve, cache, heads)
        self._policy = SpecPolicy(
            settings.allow_host_path,
            settings.allowed_service_accounts,
            settings.allow_test_engine,
            settings.kueue_elastic_jobs,
        )
        tuning = Tuning(
            backoff_min=timedelta(seconds=settings.backoff_min_seconds),
            backoff_max=timedelta(seconds=settings.backoff_max_seconds),
            poll=timedelta(seconds=min(settings.poll_seconds, POLL_SECONDS)),
            start_poll=timedelta(seconds=settings.start_poll_seconds),
        )
        self._observer = EndpointObserver(cluster, serve, cache, heads, tuning)
        self._gpu_limit = settings.gpu_limit
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def reconcile(self, key: Key) -> Look:
        """Brings one endpoint further.

        Raises PassingError or RejectedError to be called again with back-off; the second is said in an Event first.
        """
        leaving = await self._farewell.say(key)
        body = self._cache.job(key)
        if body is None:
            return Look(FAREWELL_SECONDS if leaving else None)
        endpoint = read_endpoint(body, self._policy)
        try:
            return await self._bring_further(key, body, endpoint)
        except RejectedError as error:
            told = Event("Warning", "ApiRefused", REFUSED.format(error=error))
            await write_event(self._cluster, endpoint, told, self._now(), once=True, kind=KIND)
            raise

    async def _bring_further(self, key: Key, body: Json, endpoint: EndpointView) -> Look:
        try:
            decided, wrote = await self._decide(key, body, endpoint)
        except Exception:  # whatever it is, it is raised again: pods must not be without their policy meanwhile
            await self._policies.look_after_all_the_same(key, endpoint, self._now())
            raise
        kept = await self._policies.look_after(key, endpoint, self._now())
        again = kept.sooner(decided.recheck_after.total_seconds() if decided.recheck_after is not None else None)
        return Look(again, wrote)

    async def _decide(self, key: Key, body: Json, endpoint: EndpointView) -> tuple[EndpointPlan, bool]:
        """Observes, plans, acts and says so: the plan, and whether the status was written."""
        seen = await self._observer.observe(key, endpoint, self._now)
        seen = replace(seen, room=room_of_endpoint(self._cache, key, self._gpu_limit))
        decided, problems = await self._carry_out(seen)
        wrote = await self._report(key, body, seen, decided)
        if wrote and endpoint.outdated:  # not at every look: it has been told for as long as the Event stands
            problems = (*problems, Event("Warning", "OutdatedSpec", OUTDATED.format(problem=endpoint.outdated)))
        for problem in problems:
            await write_event(self._cluster, endpoint, problem, seen.now, once=True, kind=KIND)
        return decided, wrote

    async def _carry_out(self, seen: EndpointSnapshot) -> tuple[EndpointPlan, tuple[Event, ...]]:
        """Decides and acts: the plan whose status is to be written, and what to tell of refusals that it does not say.

        What is refused holds nothing else up: the next look sees the difference again. Where a status would say that
        it was done, the plan is made anew with the refusal in sight; its actions are those that were carried out.
        """
        decided, known, problems = plan(seen), seen, []
        for action in decided.actions:
            if isinstance(action, ScaleServe) and known.scale_refused:
                continue  # Serve's sizes follow those of the groups
            try:
                await self._writer.execute(action, seen.endpoint)
                count_decision(KIND, action, decided.status.conditions, seen.endpoint.status.replicas)
            except RevisionRefusedError as error:
                known = replace(known, rejection=error.rejection)
            except ScaleRefusedError as error:
                known = replace(known, scale_refused=str(error))
            except ServiceRefusedError as error:
                known = replace(known, service_refused=str(error))
            except RejectedError as error:
                problems.append(Event("Warning", "ApiRefused", REFUSED.format(error=error)))
            except RayRefusedError as error:
                problems.append(Event("Warning", "ServeRefused", f"Serve does not take what it is told: {error}."))
            except RayUnavailableError as error:
                log.warning("%s", error, extra={"key": f"{seen.endpoint.namespace}/{seen.endpoint.name}"})
        return (plan(known) if known is not seen else decided), tuple(problems)

    async def _report(self, key: Key, body: Json, seen: EndpointSnapshot, decided: EndpointPlan) -> bool:
        """Writes the status where it says something new, and the events only once it is written."""
        news = decided.status != seen.endpoint.status
        if news:
            status = decided.status.model_dump(mode="json", by_alias=True)
            try:
                self._cache.put(Watched.JOBS, await self._cluster.patch_status(body, status, ENDPOINTS))
            except (ObjectMissingError, KindMissingError):
                self._cache.drop(Watched.JOBS, key)
                return False
            except ConflictError:
                await self._refresh(key)
                raise
        for event in decided.events:
            await write_event(self._cluster, seen.endpoint, event, seen.now, kind=KIND)
        return news

    async def _refresh(self, key: Key) -> None:
        """Somebody wrote the endpoint first: the next try starts from what stands there."""
        try:
            self._cache.put(Watched.JOBS, await self._cluster.get(ENDPOINTS, key.namespace, key.name))
        except (ObjectMissingError, KindMissingError):
            self._cache.drop(Watched.JOBS, key)
