"""Gathers the snapshot that a plan for an endpoint is made from: the watch cache, and the Ray of each revision.

Asks only: it writes nothing to the API server and decides nothing. What cannot be seen comes back as such, never as
zero.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tidemill_operator.cache import Key, WatchCache, Watched, cluster_key
from tidemill_operator.cluster import SECRETS, SERVICES, Cluster
from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot, RevisionView, ServeView
from tidemill_operator.core.endpoint.spec_checks import secrets_of
from tidemill_operator.endpoint_views import (
    awaits_start,
    leaves_after,
    read_revision_cluster,
    read_service,
    revision_label,
)
from tidemill_operator.errors import (
    ObjectMissingError,
    RayUnavailableError,
    RejectedError,
)
from tidemill_operator.manifests.revisions import revision_cluster_name, revision_in_force
from tidemill_operator.manifests.serve_config import ingress_settings
from tidemill_operator.ray_clusters import is_owned, look_again
from tidemill_operator.serve_api import Asked
from tidemill_operator.serve_reading import read_serve
from tidemill_operator.views import read_workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tidemill_operator.core.endpoint.snapshot import EndpointView
    from tidemill_operator.core.snapshot import Tuning
    from tidemill_operator.heads import Heads
    from tidemill_operator.serve_api import ServeApi

    Json = dict[str, Any]

log = logging.getLogger(__name__)

BESIDE_SECONDS = 3.0
"""How long the head of a revision that does not serve may take to answer: the figures of the one that does are good for
five seconds (`load.STALE_AFTER`), and are looked at once all revisions have answered."""


class EndpointObserver:
    """Observes one endpoint at a time; where Ray is silent, the cache is brought up to date for the next look."""

    def __init__(self, cluster: Cluster, serve: ServeApi, cache: WatchCache, heads: Heads, tuning: Tuning) -> None:
        self._cluster = cluster
        self._serve = serve
        self._cache = cache
        self._heads = heads
        self._tuning = tuning

    async def observe(self, key: Key, endpoint: EndpointView, clock: Callable[[], datetime]) -> EndpointSnapshot:
        """Everything a decision needs; `now` is read last, so that no sample is younger than it.

        Raises ConflictError where a RayCluster turns out to be gone: what the cache held of it is forgotten then.
        """
        spec = endpoint.spec
        known = self._cache.clusters_of(key)  # by name: one of an endpoint that had this name before is not ours
        clusters = tuple(body for body in known if is_owned(body, endpoint.uid))
        standing = {revision_label(body) for body in clusters}
        may_run = spec is not None and not endpoint.spec_problem
        wanted = revision_in_force(spec, endpoint.restarted, standing) if spec is not None and may_run else ""
        first = bool(wanted) and wanted not in standing
        service = await self._service(key, ask=first)
        serving = read_service(service, endpoint.uid)
        leads_to = serving.revision if serving is not None else ""
        views = await asyncio.gather(*(self._revision(endpoint, body, leads_to) for body in clusters))
        asked = first or any(awaits_start(pod) for pod in self._pods(key, clusters, wanted))
        missing = await self._missing_secrets(endpoint) if wanted and asked else ()
        return EndpointSnapshot(
            now=clock(),
            endpoint=endpoint,
            wanted=wanted,
            settings=ingress_settings(spec) if spec is not None else None,
            tuning=self._tuning,
            revisions=tuple(views),
            service=serving,
            missing_secrets=missing,
            pods_left=first and self._pods_left(key, endpoint, wanted, clock()),
        )

    def _pods(self, key: Key, clusters: tuple[Json, ...], revision: str) -> tuple[Json, ...]:
        names = [body["metadata"]["name"] for body in clusters if revision_label(body) == revision]
        return tuple(pod for name in names for pod in self._cache.pods(key.namespace, name))

    def _pods_left(self, key: Key, endpoint: EndpointView, revision: str, now: datetime) -> bool:
        """Whether pods are still on their way out of a RayCluster of this very name that is gone.

        Not those whose time is up: their node is lost, and nobody knows when they go.
        """
        name = revision_cluster_name(endpoint.name, endpoint.uid, revision)
        left = (pod for pod in self._cache.pods_without_cluster(key) if cluster_key(pod).name == name)
        return any(leaves_after(pod, now) for pod in left)

    async def _revision(self, endpoint: EndpointView, body: Json, leads_to: str) -> RevisionView:
        pods = self._cache.pods(endpoint.namespace, body["metadata"]["name"])
        cluster = read_revision_cluster(body, pods)
        key = Key(endpoint.namespace, cluster.name)
        view = RevisionView(revision_label(body), cluster, read_workers(pods))
        if cluster.deleting:
            return replace(view, serve_problem="the RayCluster is being deleted.")
        if not cluster.head_ip:
            await look_again(self._cluster, self._cache, key)
            return replace(view, serve_problem="the head pod does not run.")
        try:
            head = await self._heads.head(key, cluster.head_ip)
            patience = BESIDE_SECONDS if leads_to not in ("", view.revision) else None
            serve = read_serve(await asyncio.wait_for(self._serve.details(head), patience))
        except (RayUnavailableError, TimeoutError) as error:
            self._heads.forget(key)
            await look_again(self._cluster, self._cache, key)
            said = str(error) or f"{cluster.head_ip}: Serve does not answer within {BESIDE_SECONDS:.0f} s"
            return replace(view, serve_problem=f"{said}.")
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
