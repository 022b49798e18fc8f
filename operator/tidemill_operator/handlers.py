"""The Kopf shell: watch events feed the cache and put the owner's key on the queue. Nothing is decided here.

Only `on.event` handlers are registered, so Kopf writes neither finalizers nor annotations nor Events, and keeps no
state on our objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import kopf

from tidemill_api import GROUP, VERSION, labels
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.batch_inference_job import PLURAL
from tidemill_operator.cache import Key, WatchCache, Watched, key_of, uid_of
from tidemill_operator.credentials import connection_info
from tidemill_operator.kopf_storage import NoDiffBase, NoProgress
from tidemill_operator.manifests.names import cluster_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubernetes.aio.client import Configuration

    from tidemill_operator.workqueue import WorkQueue

OURS = f"{labels.MANAGED_BY}={labels.MANAGED_BY_VALUE}"
"""Selector of our children; the API server sends us no other RayCluster, pod or Service."""

PATIENCE = (1, 1, 2, 3, 5, 8, *[15] * 5760)
"""Seconds between Kopf's tries of one request: an API server may be away for a day before the operator gives up."""

WORKER_IDLE_SECONDS = 0.2
"""How long Kopf keeps a task for an object after its last event: at the start, there is one for each object."""


class Feed:
    """Takes what the watches and the full comparisons see, and wakes the keys that it concerns."""

    def __init__(self, cache: WatchCache, queue: WorkQueue) -> None:
        self._cache = cache
        self._queue = queue

    def seen(self, kind: Watched, body: dict[str, Any]) -> None:
        """This version of the object stands."""
        slim = {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"}}
        if self._cache.put(kind, slim):
            self._wake(kind, slim)

    def gone(self, kind: Watched, body: dict[str, Any]) -> None:
        """The object is no more. One of the same name that was created since is another object, and stays."""
        known = self._cache.get(kind, key_of(body))
        if known is not None and uid_of(known) != uid_of(body):
            return
        self._cache.drop(kind, key_of(body))
        if kind is Watched.JOBS:
            self._queue.forget(key_of(body))
            for waiting in self._cache.dependents(key_of(body)):
                self._queue.add(waiting, quiet=self._over(waiting))
        else:
            self._wake(kind, body)

    def vanished(self, kind: Watched, key: Key) -> None:
        """A full comparison did not find the object; whom it concerned is known by its last version."""
        last = self._cache.get(kind, key)
        if last is not None:
            self.gone(kind, last)

    def wake_all(self) -> None:
        """Asks for a look at whatever the cache holds, and drops what was asked for before: nobody worked until now."""
        self._queue.clear()
        for kind in Watched:
            for body in self._cache.bodies(kind):
                self._wake(kind, body)

    def _wake(self, kind: Watched, body: dict[str, Any]) -> None:
        for owner in self._cache.owners(kind, body):
            self._queue.add(owner, quiet=self._over(owner))

    def _over(self, owner: Key) -> bool:
        """Whether the job has ended and left no cluster: at the start, all such jobs are seen at once."""
        job = self._cache.job(owner)
        if job is None or not (job.get("status") or {}).get("completionTime"):
            return False
        return self._cache.cluster(owner.namespace, cluster_name(owner.name, uid_of(job))) is None


@dataclass(frozen=True)
class Feeds:
    """One feed for jobs and theirs, one for endpoints and theirs: a child says by its label whose it is."""

    jobs: Feed
    endpoints: Feed
    policies: bool = False  # whether NetworkPolicies are watched too

    def of_child(self, body: dict[str, Any]) -> Feed:
        """The feed of this RayCluster, pod or Service."""
        child_labels = body["metadata"].get("labels") or {}
        return self.endpoints if labels.ENDPOINT_NAME in child_labels else self.jobs


@dataclass(frozen=True)
class Hooks:
    """Called when Kopf has started, and when it was told to end.

    Kopf gives every task that it does not know five seconds to end by itself, so ours have to be told first.
    """

    started: Callable[[], object]
    stopping: Callable[[], object]


def _watched(feeds: Feeds) -> tuple[tuple[tuple[str, str, str], Watched, Feed | None], ...]:
    """Group, version and plural of each watched kind, what it is in a cache, and whose feed it has where it has one."""
    policies = ((("networking.k8s.io", "v1", "networkpolicies"), Watched.POLICIES, None),)
    return (
        ((GROUP, VERSION, PLURAL), Watched.JOBS, feeds.jobs),
        ((GROUP, VERSION, realtime_endpoint.PLURAL), Watched.JOBS, feeds.endpoints),
        (("ray.io", "v1", "rayclusters"), Watched.CLUSTERS, None),
        (("", "v1", "pods"), Watched.PODS, None),
        (("", "v1", "services"), Watched.SERVICES, None),
        *(policies if feeds.policies else ()),
    )


def registry(feeds: Feeds, configuration: Configuration, hooks: Hooks) -> kopf.OperatorRegistry:
    """Kopf's registry with one watch per kind, the login and the hooks."""
    handlers = kopf.OperatorRegistry()

    async def login(**_: object) -> kopf.ConnectionInfo:
        return await connection_info(configuration)

    async def startup(**_: object) -> None:
        hooks.started()

    async def cleanup(**_: object) -> None:
        hooks.stopping()

    def watch(kind: Watched, owner: Feed | None = None) -> Any:
        # Asynchronous on purpose: Kopf runs plain functions in threads, and cache and queue belong to the loop.
        async def on_event(event: dict[str, Any], **_: object) -> None:
            feed = owner or feeds.of_child(event["object"])
            (feed.gone if event["type"] == "DELETED" else feed.seen)(kind, event["object"])

        return on_event

    kopf.on.login(registry=handlers)(login)
    kopf.on.startup(registry=handlers)(startup)
    kopf.on.cleanup(registry=handlers)(cleanup)
    for (group, version, plural), kind, owner in _watched(feeds):
        kopf.on.event(group, version, plural, id=plural, registry=handlers)(watch(kind, owner))
    return handlers


def settings() -> kopf.OperatorSettings:
    """Kopf's settings: no Events and no notes of its own, and server-side filters on the children."""
    ours = kopf.OperatorSettings()
    ours.posting.enabled = False
    ours.persistence.diffbase_storage = NoDiffBase()
    ours.persistence.progress_storage = NoProgress()
    ours.watching.label_selectors["ray.io", "v1", "rayclusters"] = OURS
    ours.watching.label_selectors["", "v1", "pods"] = OURS
    ours.watching.label_selectors["", "v1", "services"] = OURS
    ours.watching.label_selectors["networking.k8s.io", "v1", "networkpolicies"] = OURS
    ours.watching.chunk_size = 500
    ours.queueing.idle_timeout = WORKER_IDLE_SECONDS
    ours.networking.request_timeout = 30
    ours.networking.error_backoffs = PATIENCE
    return ours
