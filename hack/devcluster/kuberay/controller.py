"""The thin shell: watches, asks `planning` and `status` what to do, and does it over HTTP.

One round per cluster at a time; a change while it runs asks for another. A round that failed is tried
again after two seconds, every cluster is looked at every five minutes, as KubeRay does by default.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp

from devcluster.cache import Cache
from devcluster.client import PODS, RAY_CLUSTERS, SECRETS, SERVICES, ApiError, Conflict, NotFound, Resource
from devcluster.kuberay import constants as c
from devcluster.kuberay import environment, naming, offered, status, validation
from devcluster.kuberay.conditions import Observation
from devcluster.kuberay.events import Recorder
from devcluster.kuberay.expectations import Expectations
from devcluster.kuberay.planning import Snapshot, plan
from devcluster.kuberay.steps import Announce, Create, Delete, Finalize, Step
from devcluster.kuberay.teardown import Ending, teardown
from devcluster.kuberay.work_queue import KeyedQueue

if TYPE_CHECKING:
    from devcluster.client import Client, Key, Object

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
RESYNC_SECONDS = 300.0
WORKERS = 4
"""Clusters that are worked on side by side; a round is a few requests."""

_RESOURCES: dict[str, Resource] = {"Pod": PODS, "Service": SERVICES, "Secret": SECRETS}


@dataclass(frozen=True)
class Outcome:
    """How a round went: the error it ended with, and the reason for condition `ReplicaFailure`."""

    error: str = ""
    failure: str = ""


@dataclass
class Controller:
    """Keeps every RayCluster of one API server as its spec says, until it is cancelled."""

    client: Client
    expectations: Expectations = field(default_factory=Expectations)

    def __post_init__(self) -> None:
        self.queue = KeyedQueue()
        self.recorder = Recorder(self.client)
        self.clusters = Cache(self.client, RAY_CLUSTERS, on_change=self._cluster_changed)
        self.pods = Cache(self.client, PODS, label_selector=c.LABEL_CLUSTER, on_change=self._child_changed)
        self.services = Cache(self.client, SERVICES, label_selector=c.LABEL_CLUSTER, on_change=self._child_changed)
        self.secrets = Cache(self.client, SECRETS, label_selector=c.LABEL_CLUSTER, on_change=self._child_changed)

    async def run(self) -> None:
        """Work until cancelled. Nothing is decided before every cache has its first list."""
        caches = (self.clusters, self.pods, self.services, self.secrets)
        async with asyncio.TaskGroup() as group:
            for cache in caches:
                group.create_task(cache.run())
            for cache in caches:
                await cache.synced.wait()
            logger.info("ready: %d clusters, %d pods", len(self.clusters.objects), len(self.pods.objects))
            for _ in range(WORKERS):
                group.create_task(self._work())

    def _cluster_changed(self, _kind: str, cluster: Object) -> None:
        self.queue.add((cluster["metadata"].get("namespace", ""), cluster["metadata"]["name"]))

    def _child_changed(self, _kind: str, child: Object) -> None:
        metadata = child["metadata"]
        self.queue.add((metadata.get("namespace", ""), metadata.get("labels", {}).get(c.LABEL_CLUSTER, "")))

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            delay: float | None = RETRY_SECONDS
            try:
                delay = await self.reconcile(key)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                logger.warning("%s/%s: %s; trying again", *key, error)
            except Exception:
                # The boundary of one round: a bug met with one cluster must not stop the others.
                logger.exception("%s/%s: the round failed on a bug", *key)
                delay = RESYNC_SECONDS
            self.queue.done(key)
            if delay is not None:
                self.queue.add_later(key, delay)

    async def reconcile(self, key: Key) -> float | None:
        """One round for one cluster. Seconds until the next at the latest; None: only when it changes."""
        cluster = self.clusters.get(*key)
        if cluster is None:
            self.expectations.forget(key)
            return None
        manager = cluster["spec"].get("managedBy")
        if manager not in {None, c.KUBERAY_CONTROLLER}:
            return None
        if cluster["metadata"].get("deletionTimestamp"):
            return await self._end(key, cluster)
        violation = validation.validate(cluster) or offered.not_offered(cluster)
        if violation is not None:
            await self.recorder.warn_once(cluster, violation)
            return None
        decided = plan(self._snapshot(key, cluster))
        outcome = await self._apply(cluster, decided.steps)
        if not outcome.error:
            outcome = Outcome(decided.error)
        if outcome.error:
            logger.info("%s/%s: %s", *key, outcome.error)
        written = await self._write_status(key, cluster, outcome)
        return RETRY_SECONDS if outcome.error or not written else RESYNC_SECONDS

    async def _end(self, key: Key, cluster: Object) -> float | None:
        """One round for a cluster that is being deleted; the garbage collector ends most of them alone."""
        since = datetime.fromisoformat(cluster["metadata"]["deletionTimestamp"])
        seconds = (datetime.now(UTC) - since).total_seconds()
        decided = teardown(Ending(cluster, self._children(self.pods, key), seconds))
        outcome = await self._apply(cluster, decided.steps)
        if outcome.error or decided.error:
            logger.info("%s/%s: %s", *key, outcome.error or decided.error)
            return RETRY_SECONDS
        return None

    def _snapshot(self, key: Key, cluster: Object) -> Snapshot:
        groups = {c.HEAD_GROUP, *(group["groupName"] for group in cluster["spec"].get("workerGroupSpecs") or [])}
        present = {name for namespace, name in self.pods.objects if namespace == key[0]}
        now = asyncio.get_running_loop().time()
        return Snapshot(
            cluster=cluster,
            pods=self._children(self.pods, key),
            services=self._children(self.services, key),
            has_token_secret=self.secrets.get(key[0], environment.auth_secret(cluster)) is not None,
            spare_token=base64.b64encode(secrets.token_bytes(32)).decode(),
            waiting=frozenset(group for group in groups if self.expectations.waiting(key, group, present, now)),
        )

    @staticmethod
    def _children(cache: Cache, key: Key) -> tuple[Object, ...]:
        """The objects labelled with the cluster, in the order of a list from the server."""
        return tuple(
            cache.objects[child]
            for child in sorted(cache.objects)
            if child[0] == key[0] and cache.objects[child]["metadata"]["labels"].get(c.LABEL_CLUSTER) == key[1]
        )

    async def _apply(self, cluster: Object, steps: tuple[Step, ...]) -> Outcome:
        for step in steps:
            if isinstance(step, Announce):
                await self.recorder.announce(cluster, step, naming.namespace_of(cluster))
                continue
            if isinstance(step, Finalize):
                await self._finalize(cluster, step)
                continue
            try:
                name = await (self._create(cluster, step) if isinstance(step, Create) else self._delete(cluster, step))
            except ApiError as error:
                attempted = _attempted_name(step)
                if step.failed:
                    await self.recorder.announce(cluster, step.failed, attempted, str(error))
                return Outcome(f"{step.condition or 'Failed'}: {attempted}: {error}", step.condition)
            if name and step.done:
                await self.recorder.announce(cluster, step.done, name)
        return Outcome()

    async def _finalize(self, cluster: Object, step: Finalize) -> None:
        metadata = {field: cluster["metadata"][field] for field in ("uid", "resourceVersion")}
        body = {"metadata": {**metadata, "finalizers": list(step.finalizers)}}
        with suppress(Conflict, NotFound):  # the next round sees what came first
            await self.client.patch(RAY_CLUSTERS, *naming.key_of(cluster), body)

    async def _create(self, cluster: Object, step: Create) -> str:
        namespace = step.body["metadata"]["namespace"]
        created = await self.client.create(_RESOURCES[step.kind], namespace, step.body)
        name = str(created["metadata"]["name"])
        if step.group:
            now = asyncio.get_running_loop().time()
            self.expectations.created(naming.key_of(cluster), step.group, name, now)
        return f"{namespace}/{name}"

    async def _delete(self, cluster: Object, step: Delete) -> str:
        try:
            await self.client.delete(PODS, step.namespace, step.name)
        except NotFound:
            return ""
        if step.group:
            self.expectations.deleted(naming.key_of(cluster), step.group, step.name)
        return f"{step.namespace}/{step.name}"

    async def _write_status(self, key: Key, cluster: Object, outcome: Outcome) -> bool:
        """Write the status if it changed. False: it could not be told or written, so try again soon."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        pods, services = self._children(self.pods, key), self._children(self.services, key)
        try:
            new = status.calculate(Observation(cluster, pods, services, now, outcome.error, outcome.failure))
        except status.IncompleteError as error:
            logger.debug("%s/%s: no status yet: %s", *key, error)
            return False
        if not status.differs(cluster.get("status") or {}, new):
            return True
        try:
            await self.client.replace(RAY_CLUSTERS, *key, {**cluster, "status": new}, subresource="status")
        except (Conflict, NotFound):
            return False
        return True


def _attempted_name(step: Create | Delete) -> str:
    if isinstance(step, Delete):
        return f"{step.namespace}/{step.name}"
    metadata = step.body["metadata"]
    return f"{metadata['namespace']}/{metadata.get('name') or metadata['generateName']}"
