"""Puts the operator together and runs it until it is told to stop: clients, cache, queue, Kopf, full comparisons."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import kopf

from tidemill_api import labels
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.batch_inference_job import KIND
from tidemill_operator import alert_webhook, handlers
from tidemill_operator.cache import WatchCache, Watched, key_of
from tidemill_operator.cluster import ENDPOINTS, JOBS, NETWORK_POLICIES, PODS, RAY_CLUSTERS, SERVICES, Cluster, Resource
from tidemill_operator.collector import collected
from tidemill_operator.credentials import load_configuration
from tidemill_operator.endpoint_reconciler import EndpointReconciler
from tidemill_operator.errors import ApiUnavailableError, KindMissingError, RejectedError
from tidemill_operator.metrics import QUEUE_LENGTH
from tidemill_operator.ray_api import RayApi
from tidemill_operator.reconciler import Reconciler
from tidemill_operator.serve_api import ServeApi
from tidemill_operator.workqueue import WorkQueue

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill_operator.config import Settings

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 15.0

COLLECTOR_THRESHOLD = 20_000
"""New objects before Python's collector looks at the young ones (700 by default): a few answers of the API server."""

Watches = tuple[tuple[Watched, Resource, str], ...]

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
class Side:
    """One kind of owner: its cache, its queue, and what feeds them."""

    cache: WatchCache
    queue: WorkQueue
    feed: handlers.Feed
    watches: Watches

    @classmethod
    def of(cls, cache: WatchCache, queue: WorkQueue, watches: Watches) -> Side:
        """The side with its feed."""
        return cls(cache, queue, handlers.Feed(cache, queue), watches)


class Comparison:
    """Compares the cache with the API server in full: at start, and now and then for events that a watch missed."""

    def __init__(self, cluster: Cluster, side: Side, namespaces: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._cache = side.cache
        self._feed = side.feed
        self._watches = side.watches
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)

    async def first(self) -> None:
        """Fills the cache before anything is decided; waits for an API server or CRD that is not there yet."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                await self.once()
            except (ApiUnavailableError, KindMissingError, RejectedError) as error:
                log.warning("cannot list yet, tried again in %.0f s: %s", delay, error)
            else:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY_SECONDS)

    async def forever(self, seconds: float) -> None:
        """Compares again and again."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.once()
            except (ApiUnavailableError, KindMissingError, RejectedError) as error:
                log.warning("the full comparison failed, tried again in %.0f s: %s", seconds, error)

    async def once(self) -> None:
        """One comparison. Raises KindMissingError where our own CRD is missing; KubeRay's may be."""
        for kind, resource, selector in self._watches:
            before, found = self._cache.keys(kind), set()
            try:
                for namespace in self._namespaces:
                    async for body in self._cluster.list_all(resource, namespace, selector):
                        self._feed.seen(kind, body)
                        found.add(key_of(body))
            except KindMissingError:
                if kind is Watched.JOBS:
                    raise KindMissingError(f"the CRD of {resource.plural} is not installed: apply crds/") from None
                log.warning("KubeRay is not installed: the API server does not know RayCluster (ray.io/v1)")
            for key in before - found:
                self._feed.vanished(kind, key)


async def serve(options: Options, settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT. Raises ConfigError where there is no cluster to work on."""
    configuration = await load_configuration(options.kubeconfig)
    cluster = Cluster(configuration)
    async with AsyncExitStack() as clients:
        clients.push_async_callback(cluster.close)
        ray = await clients.enter_async_context(RayApi(settings.request_timeout_seconds))
        serve_api = ServeApi(settings.request_timeout_seconds, clock=lambda: datetime.now(UTC))
        await clients.enter_async_context(serve_api)
        endpoints = _endpoints(cluster, serve_api, settings)
        jobs = _jobs(cluster, ray, settings, endpoints.cache)
        QUEUE_LENGTH.set_function(lambda: jobs.queue.length + endpoints.queue.length)
        clients.enter_context(collected({KIND: jobs.cache, realtime_endpoint.KIND: endpoints.cache}))
        await clients.enter_async_context(alert_webhook.served(settings, cluster, options.namespaces))
        sides = [(side, Comparison(cluster, side, options.namespaces)) for side in (jobs, endpoints)]
        decisions = asyncio.create_task(_decide(sides, settings.resync_seconds), name="decisions")
        stop = asyncio.Event()
        hooks = handlers.Hooks(started=lambda: _stop_on_signals(stop), stopping=decisions.cancel)
        feeds = handlers.Feeds(jobs.feed, endpoints.feed, settings.network_policies)
        watches = handlers.registry(feeds, configuration, hooks)
        await _run_together(decisions, asyncio.create_task(_kopf(options, watches, stop), name="kopf"))


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


async def _decide(sides: list[tuple[Side, Comparison]], resync_seconds: float) -> None:
    """Serves both kinds of owners. One whose CRD is missing, or may not be read, does not keep the other waiting."""
    async with asyncio.TaskGroup() as tasks:
        for side, comparison in sides:
            tasks.create_task(_serve_side(side, comparison, resync_seconds))


async def _serve_side(side: Side, comparison: Comparison, resync_seconds: float) -> None:
    """Decides nothing before the cache is full: a cluster that is not known yet would look like one that is lost."""
    await comparison.first()
    _spare_the_collector()
    log.info("the cache is full, %s are served from now on", side.watches[-1][1].plural)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(side.queue.run())
        tasks.create_task(comparison.forever(resync_seconds))


def _spare_the_collector() -> None:
    """Takes what stands out of the garbage collector's rounds, and makes these rarer.

    The cache is a million small objects without cycles, which reference counting frees by itself; going through them
    again and again stops every reconcile for as long as that takes (0.3 s with ten thousand jobs).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD, 20, 20)


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


async def _run_together(*tasks: asyncio.Task[None]) -> None:
    """Runs until the first of the tasks ends, then stops the others; an error of any is raised."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
