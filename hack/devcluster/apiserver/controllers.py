"""The server's own controllers: definitions to registry, garbage collection, ends of namespaces.

A thin shell: it queues keys as the store reports writes, asks the pure modules what to do and does it. The
definitions are followed at once, inside the write, so that discovery is never behind.
"""

import asyncio
import logging

from devcluster.apiserver import custom_resources, lifecycle
from devcluster.apiserver.bootstrap import ensure_default_account
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.deletes import DeleteOptions, delete
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.garbage_collection import Dependents, Step, steps_for
from devcluster.apiserver.objects import metadata
from devcluster.apiserver.requests import Target
from devcluster.apiserver.store import DELETED, Entry, Event, Key
from devcluster.apiserver.writes import may_vanish

_LOG = logging.getLogger(__name__)


class Controllers:
    """Runs until cancelled; `start` must be called before requests are served."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._dependents = Dependents(cluster.store)
        self._pending: dict[Key, None] = {}
        self._wake = asyncio.Event()

    def start(self) -> asyncio.Task[None]:
        """Catch up with what is stored, follow the store from now on, and return the running task."""
        for entry in self._cluster.store.list(custom_resources.STORAGE):
            self._serve(entry, gone=False)
        self._pending = {entry.key: None for entry in self._cluster.store.everything()}
        self._wake.set()
        self._cluster.store.listen(self._observe)
        return asyncio.create_task(self._run(), name="controllers")

    def _observe(self, event: Event) -> None:
        entry = event.entry
        self._dependents.observe(event)
        if entry.key.storage == custom_resources.STORAGE:
            self._serve(entry, gone=event.type == DELETED)
        self._queue(entry.key)
        if event.type == DELETED:
            self._queue_around(entry)

    def _queue_around(self, entry: Entry) -> None:
        """Look again at everything that may have waited for this object to go."""
        meta = metadata(entry.document)
        for key in self._dependents.of(meta.get("uid", "")):
            self._queue(key)
        for owner in meta.get("ownerReferences") or ():
            group, _, version = owner.get("apiVersion", "").rpartition("/")
            resource = self._cluster.registry.of_kind(group, version, owner.get("kind", ""))
            if resource is not None:
                self._queue(resource.key(entry.key.namespace, owner.get("name", "")))
        if entry.key.storage == lifecycle.NODES:
            for pod in self._cluster.store.list(lifecycle.PODS):
                self._queue(pod.key)
        if entry.key.namespace:
            self._queue(Key(lifecycle.NAMESPACES, "", entry.key.namespace))
        group, _, plural = entry.key.storage.partition("/")
        self._queue(Key(lifecycle.DEFINITIONS, "", f"{plural}.{group}"))

    def _queue(self, key: Key) -> None:
        self._pending[key] = None
        self._wake.set()

    def _serve(self, entry: Entry, gone: bool) -> None:
        definition = entry.document
        served = (
            [] if gone or not custom_resources.is_established(definition) else custom_resources.resources_of(definition)
        )
        self._cluster.registry.set_custom(entry.key.name, served)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self._pending = self._pending, {}
            for count, key in enumerate(pending):
                try:
                    self._visit(key)
                except Exception:  # The boundary: a bug met at one object is logged, and the others are still served.
                    _LOG.exception("the controllers failed at %s", key)
                if count % 50 == 49:
                    await asyncio.sleep(0)

    def _visit(self, key: Key) -> None:
        entry = self._cluster.store.get(key)
        if entry is None:
            return
        for step in self._steps(entry):
            self._carry_out(step)
        if key.storage == lifecycle.NAMESPACES:
            ensure_default_account(self._cluster, key.name)

    def _steps(self, entry: Entry) -> list[Step]:
        store, registry = self._cluster.store, self._cluster.registry
        steps = steps_for(entry, store, registry, self._dependents)
        if entry.key.storage == lifecycle.NAMESPACES:
            inside, empty = lifecycle.steps_for_namespace(entry, store, registry)
            steps += inside
            if empty and not metadata(entry.document).get("finalizers"):
                store.delete(entry.key)
        elif entry.key.storage == lifecycle.PODS:
            steps += lifecycle.steps_for_pod(entry, store)
        elif entry.key.storage == lifecycle.DEFINITIONS:
            inside, empty = lifecycle.steps_for_definition(entry, store)
            steps += inside + ([lifecycle.release_definition(entry)] if empty else [])
        return steps

    def _carry_out(self, step: Step) -> None:
        entry = self._cluster.store.get(step.key)
        resource = self._cluster.registry.of_storage(step.key.storage)
        if entry is None:
            return
        if step.metadata is not None:
            document = {**entry.document, "metadata": step.metadata}
            if document == entry.document:
                return
            if may_vanish(document):
                self._cluster.store.delete(step.key, document)
            else:
                self._cluster.store.update(step.key, document)
        elif resource is not None:
            policy = "Foreground" if step.foreground else ""
            target = Target(resource, step.key.namespace, step.key.name)
            grace = 0 if step.force else None
            options = DeleteOptions(grace, propagation=policy, uid=metadata(entry.document)["uid"])
            try:
                delete(self._cluster, target, options)
            except StatusError as error:
                _LOG.warning("garbage collection of %s: %s", step.key, error)
