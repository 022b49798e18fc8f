"""Puts the operator together and runs it until it is told to stop: clients, caches, queues, election, Kopf."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import kopf

from tidemill_api import labels
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.batch_inference_job import KIND
from tidemill_operator import alert_webhook, handlers
from tidemill_operator.cache import WatchCache, Watched
from tidemill_operator.cluster import ENDPOINTS, JOBS, NETWORK_POLICIES, PODS, RAY_CLUSTERS, SERVICES, Cluster
from tidemill_operator.collector import collected
from tidemill_operator.comparison import Comparison, Scope, Side, Watches
from tidemill_operator.credentials import load_configuration
from tidemill_operator.election import Alone, Election, LeaseElection, Place, identity_of
from tidemill_operator.endpoint_reconciler import EndpointReconciler
from tidemill_operator.governing import Government, ended_all
from tidemill_operator.leadership import NO_FENCE, Fence, Leadership
from tidemill_operator.metrics import LEADER, QUEUE_LENGTH
from tidemill_operator.ray_api import RayApi
from tidemill_operator.reconciler import Reconciler
from tidemill_operator.serve_api import ServeApi
from tidemill_operator.workqueue import WorkQueue

if TYPE_CHECKING:
    from pathlib import Path

    from kubernetes.aio.client import Configuration

    from tidemill_operator.config import Settings

log = logging.getLogger(__name__)

KOPF_SECONDS = 3.0
"""For Kopf to end once it was told to: it only watches."""

_OF_ENDPOINTS = f"{handlers.OURS},{labels.ENDPOINT_NAME}"
_OF_JOBS = f"{handlers.OURS},!{labels.ENDPOINT_NAME}"

JOB_WATCHES: Watches = (
    (Watched.CLUSTERS, RAY_CLUSTERS, _OF_JOBS),
    (Watched.PODS, PODS, _OF_JOBS),
    (Watched.JOBS, JOBS, ""),
)
ENDPOINT_WATCHES: Watches = (
    (Watched.CLUSTERS, RAY_CLUSTERS, _OF_ENDPOINTS),
    (Watched.PODS, PODS, _OF_ENDPOINTS),
    (Watched.SERVICES, SERVICES, _OF_ENDPOINTS),
    (Watched.JOBS, ENDPOINTS, ""),
)
"""What is watched, children first: an owner that is looked at finds its children known."""


@dataclass(frozen=True)
class Options:
    """What the command line says beside the settings. No namespace means all."""

    kubeconfig: Path | None
    namespaces: tuple[str, ...]
    health_port: int


@dataclass(frozen=True)
class Access:
    """How this process writes: by the fence that follows from its election, but where a write only asks."""

    election: Election
    fence: Fence
    cluster: Cluster
    unfenced: Cluster


async def serve(options: Options, settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT.

    Raises ConfigError where there is no cluster to work on, LeadershipLostError where another operator may decide.
    """
    configuration = await load_configuration(options.kubeconfig)
    async with AsyncExitStack() as clients:
        access = _access(configuration, settings, clients)
        ray = await clients.enter_async_context(RayApi(settings.request_timeout_seconds, access.fence))
        serve_api = ServeApi(settings.request_timeout_seconds, lambda: datetime.now(UTC), access.fence)
        await clients.enter_async_context(serve_api)
        endpoints = _endpoints(access.cluster, serve_api, settings)
        jobs = _jobs(access.cluster, ray, settings, endpoints.cache)
        clients.enter_context(_figures(jobs, endpoints, access.fence))
        await clients.enter_async_context(alert_webhook.served(settings, access.unfenced, options.namespaces))
        scope = Scope(access.cluster, options.namespaces, settings.resync_seconds)
        stop = asyncio.Event()
        government = Government(access.election, (Comparison(scope, jobs), Comparison(scope, endpoints)), stop)
        decisions = asyncio.create_task(government.run(), name="decisions")
        hooks = handlers.Hooks(started=lambda: _stop_on_signals(stop), stopping=decisions.cancel)
        watches = handlers.registry(
            handlers.Feeds(jobs.feed, endpoints.feed, settings.network_policies), configuration, hooks
        )
        kopf_ends = asyncio.create_task(_kopf(options, watches, government.released), name="kopf")
        await _run_together(decisions, kopf_ends)


def _access(configuration: Configuration, settings: Settings, clients: AsyncExitStack) -> Access:
    unfenced = Cluster(configuration)
    clients.push_async_callback(unfenced.close)
    if not settings.lease_name:
        return Access(Alone(), NO_FENCE, unfenced, unfenced)
    leadership = Leadership(identity_of(settings))
    cluster = Cluster(configuration, leadership)
    clients.push_async_callback(cluster.close)
    place = Place(settings.operator_namespace, settings.lease_name)
    return Access(LeaseElection(unfenced, place, leadership), leadership, cluster, unfenced)


def _figures(jobs: Side, endpoints: Side, fence: Fence) -> AbstractContextManager[None]:
    LEADER.set_function(lambda: float(fence.open))
    QUEUE_LENGTH.set_function(lambda: jobs.queue.length + endpoints.queue.length if fence.open else 0)
    return collected({KIND: jobs.cache, realtime_endpoint.KIND: endpoints.cache}, leads=lambda: fence.open)


def _jobs(cluster: Cluster, ray: RayApi, settings: Settings, endpoints: WatchCache) -> Side:
    cache = WatchCache()
    queue = WorkQueue(Reconciler(cluster, ray, cache, settings, endpoints).reconcile, settings.concurrency)
    return Side.of(cache, queue, _with_policies(JOB_WATCHES, _OF_JOBS, settings))


def _endpoints(cluster: Cluster, serve_api: ServeApi, settings: Settings) -> Side:
    cache = WatchCache(realtime_endpoint.KIND)
    queue = WorkQueue(EndpointReconciler(cluster, serve_api, cache, settings).reconcile, settings.concurrency)
    return Side.of(cache, queue, _with_policies(ENDPOINT_WATCHES, _OF_ENDPOINTS, settings))


def _with_policies(watches: Watches, selector: str, settings: Settings) -> Watches:
    """The same and NetworkPolicies, where the operator keeps them: elsewhere it has no right to look at any."""
    return ((Watched.POLICIES, NETWORK_POLICIES, selector), *watches) if settings.network_policies else watches


def _stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT end the operator in order, however often they come, until its loop has closed.

    Kopf's own handlers fail at the second signal, and handlers of a loop go with it.
    """
    loop = asyncio.get_running_loop()

    def on_signal(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        signal.signal(number, on_signal)


async def _kopf(options: Options, registry: kopf.OperatorRegistry, stop: asyncio.Event) -> None:
    """Kopf's own loop; it also answers /healthz."""
    health = f"http://0.0.0.0:{options.health_port}/healthz" if options.health_port else None
    await kopf.operator(
        registry=registry,
        settings=handlers.settings(),
        standalone=True,
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        liveness_endpoint=health,
        stop_flag=stop,
    )


async def _run_together(decisions: asyncio.Task[None], watching: asyncio.Task[None]) -> None:
    """Runs until one of both ends, then stops the other: an error of either is raised."""
    try:
        await asyncio.wait((decisions, watching), return_when=asyncio.FIRST_COMPLETED)
        if decisions.done():  # Kopf was told by it, and may end in order
            await asyncio.wait((watching,), timeout=KOPF_SECONDS)
    finally:
        ended = await ended_all(decisions, watching)
    for error in ended:
        if isinstance(error, Exception):
            raise error
