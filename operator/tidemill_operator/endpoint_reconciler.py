"""One reconcile of an endpoint: observe into a snapshot, plan, apply, write the status once, then the events.

Reads the watch cache, asks the Ray of each revision, and hands everything else to pure functions. Remembers nothing
between two looks: whatever was interrupted is found again from what stands in the cluster.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tidemill_api.v1alpha1.realtime_endpoint import KIND
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import ENDPOINTS, SECRETS, SERVICES, Cluster
from tidemill_operator.core.endpoint.planner import plan
from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot, RevisionView, ServeView
from tidemill_operator.core.endpoint.spec_checks import secrets_of
from tidemill_operator.core.plan import Event
from tidemill_operator.core.snapshot import Tuning
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.endpoint_views import read_endpoint, read_revision_cluster, read_service, revision_label
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
from tidemill_operator.manifests.revisions import revision_of
from tidemill_operator.manifests.serve_config import ingress_settings
from tidemill_operator.revision_heads import RevisionHeads
from tidemill_operator.revision_writes import RevisionRefusedError, RevisionWriter
from tidemill_operator.serve_api import Asked
from tidemill_operator.serve_reading import read_serve
from tidemill_operator.views import read_workers
from tidemill_operator.workqueue import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.config import Settings
    from tidemill_operator.core.endpoint.plan import EndpointPlan
    from tidemill_operator.core.endpoint.snapshot import EndpointView
    from tidemill_operator.serve_api import ServeApi

    Json = dict[str, Any]

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two looks at the figures of an endpoint, at most: the target age may be crossed at any moment."""

REFUSED = "The API server refuses what the operator asks for; it is tried again with back-off: {error}."


class EndpointReconciler:
    """Reconciles one key at a time; the queue sees to it that no two of them are the same."""

    def __init__(self, cluster: Cluster, serve: ServeApi, cache: WatchCache, settings: Settings) -> None:
        self._cluster = cluster
        self._serve = serve
        self._cache = cache
        self._heads = RevisionHeads(cluster, cache)
        self._writer = RevisionWriter(cluster, serve, cache, self._heads, settings)
        self._farewell = Farewell(serve, cache, self._heads)
        self._policy = SpecPolicy(
            settings.allow_host_path, settings.allowed_service_accounts, settings.allow_test_engine
        )
        self._tuning = Tuning(
            backoff_min=timedelta(seconds=settings.backoff_min_seconds),
            backoff_max=timedelta(seconds=settings.backoff_max_seconds),
            poll=timedelta(seconds=min(settings.poll_seconds, POLL_SECONDS)),
            start_poll=timedelta(seconds=settings.start_poll_seconds),
        )
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def reconcile(self, key: Key) -> Look:
        """Brings one endpoint further.

        Raises PassingError or RejectedError to be called again with back-off; the second is said in an Event first.
        """
        await self._farewell.say(key)
        body = self._cache.job(key)
        if body is None:
            return Look()
        endpoint = read_endpoint(body, self._policy)
        try:
            return await self._bring_further(key, body, endpoint)
        except RejectedError as error:
            told = Event("Warning", "ApiRefused", REFUSED.format(error=error))
            await write_event(self._cluster, endpoint, told, self._now(), once=True, kind=KIND)
            raise

    async def _bring_further(self, key: Key, body: Json, endpoint: EndpointView) -> Look:
        seen = await self._observe(key, endpoint)
        decided, problems = await self._carry_out(seen)
        wrote = await self._report(key, body, seen, decided)
        for problem in problems:
            log.warning("%s", problem, extra={"key": str(key)})
        again = decided.recheck_after.total_seconds() if decided.recheck_after is not None else None
        return Look(again, wrote)

    async def _carry_out(self, seen: EndpointSnapshot) -> tuple[EndpointPlan, list[str]]:
        """Decides and acts. What Ray does not take holds nothing else up: the next look sees the difference again."""
        decided, problems = plan(seen), []
        for action in decided.actions:
            try:
                await self._writer.execute(action, seen.endpoint)
            except RevisionRefusedError as error:
                if seen.rejection is not None:
                    raise
                return await self._carry_out(replace(seen, rejection=error.rejection))
            except (RayUnavailableError, RayRefusedError) as error:
                problems.append(str(error))
        return decided, problems

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

    async def _observe(self, key: Key, endpoint: EndpointView) -> EndpointSnapshot:
        """Everything a decision needs; `now` is read last, so that no sample is younger than it."""
        spec = endpoint.spec
        wanted = revision_of(spec) if spec is not None and not endpoint.spec_problem else ""
        views = await asyncio.gather(*(self._revision(endpoint, body) for body in self._cache.clusters_of(key)))
        known = {view.revision for view in views}
        first = bool(wanted) and wanted not in known
        missing = await self._missing_secrets(endpoint) if first else ()
        service = await self._service(key, ask=first)
        return EndpointSnapshot(
            now=self._now(),
            endpoint=endpoint,
            wanted=wanted,
            settings=ingress_settings(spec) if spec is not None else None,
            tuning=self._tuning,
            revisions=tuple(views),
            service=read_service(service, endpoint.uid),
            missing_secrets=missing,
        )

    async def _revision(self, endpoint: EndpointView, body: Json) -> RevisionView:
        pods = self._cache.pods(endpoint.namespace, body["metadata"]["name"])
        cluster = read_revision_cluster(body, pods)
        view = RevisionView(revision_label(body), cluster, read_workers(pods))
        if not cluster.head_ip or cluster.deleting:
            return replace(view, serve_problem="the head pod does not run.")
        try:
            head = await self._heads.head(endpoint, cluster.name, cluster.head_ip)
            serve = read_serve(await self._serve.details(head))
        except RayUnavailableError as error:
            self._heads.forget(endpoint, cluster.name)
            return replace(view, serve_problem=f"{error}.")
        return await self._with_figures(endpoint, replace(view, serve=serve), serve)

    async def _with_figures(self, endpoint: EndpointView, view: RevisionView, serve: ServeView) -> RevisionView:
        asked = Asked(
            endpoint=f"{endpoint.namespace}/{endpoint.name}",
            revision=view.revision,
            ingress_ips=tuple(replica.node_ip for replica in serve.ingress.replicas),  # who leaves holds requests too
            engine_ips=tuple(replica.node_ip for replica in serve.engine.running),
        )
        figures = await self._serve.figures(asked)
        return replace(view, ingress_samples=figures.ingress, engine_samples=figures.engines)

    async def _service(self, key: Key, *, ask: bool) -> Json | None:
        """The Service of the endpoint's name. Only ours are watched, so before anything is made it is asked for."""
        known = self._cache.get(Watched.SERVICES, key)
        if known is not None or not ask:
            return known
        try:
            return await self._cluster.get(SERVICES, key.namespace, key.name)
        except ObjectMissingError:
            return None

    async def _missing_secrets(self, endpoint: EndpointView) -> tuple[str, ...]:
        """Secrets that the spec refers to and that are not there. One that may not be read is left to the pods."""
        names = secrets_of(endpoint.spec) if endpoint.spec is not None else ()
        missing = []
        for name in names:
            try:
                await self._cluster.get(SECRETS, endpoint.namespace, name)
            except ObjectMissingError:
                missing.append(name)
            except RejectedError:
                log.info("Secret %s/%s may not be looked at", endpoint.namespace, name)
        return tuple(missing)
