"""The kubelet's main loop: registers the nodes, keeps one worker for each Pod bound to them, and the hosts files.

Everything it knows comes from watches and from the state folder, so it may be killed at any moment: the next one
finds the sandboxes that run, adopts those whose Pod still is, and removes the others.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from devcluster.cache import Cache
from devcluster.client import (
    ENDPOINT_SLICES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SERVICES,
    AlreadyExists,
    ApiError,
    Client,
)
from devcluster.kubelet import logs
from devcluster.kubelet.claims import Claims
from devcluster.kubelet.context import Lookup, PodContext, Settings
from devcluster.kubelet.events import Event, EventRecorder
from devcluster.kubelet.hosts import hosts_file, rewrite, service_addresses
from devcluster.kubelet.nodes import NodeSpec, node_object, node_status, undeclared
from devcluster.kubelet.pods import PodWorker
from devcluster.kubelet.policy_enforcement import PolicyEnforcement
from devcluster.kubelet.sandbox import Sandboxes
from devcluster.kubelet.scheduler import Scheduler
from devcluster.kubelet.states import rfc3339

logger = logging.getLogger(__name__)

Object = dict[str, Any]

HEARTBEAT_SECONDS = 60.0
GATHER_SECONDS = 0.05


class Kubelet:
    """Plays the declared nodes against one API server until cancelled; Pods run on after that."""

    def __init__(self, client: Client, settings: Settings, sandboxes: Sandboxes, nodes: Sequence[NodeSpec]) -> None:
        self._client = client
        self._settings = settings
        self._sandboxes = sandboxes
        self._specs = {spec.name: spec for spec in nodes}
        self._recorder = EventRecorder(client, "kubelet")
        self._scheduler_recorder = EventRecorder(client, "default-scheduler")
        self._lookup = Lookup(client)
        self._claims = Claims(client, settings.state)
        self._pods = Cache(client, PODS, on_change=self._on_pod)
        self._nodes = Cache(client, NODES, on_change=self._on_node)
        self._services = self._lookup.caches[SERVICES]
        self._slices = Cache(client, ENDPOINT_SLICES, on_change=self._on_service)
        self._scheduler = Scheduler(client, self._scheduler_recorder, self._pods, self._nodes)
        self._policies = PolicyEnforcement(client, self._recorder, sandboxes, self._pods, self._specs)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hosts_changed = asyncio.Event()
        self._hosts_written: dict[str, bytes] = {}
        self._ready_since = rfc3339(time.time())
        self._lookup.listen(PERSISTENT_VOLUME_CLAIMS, self._claims.on_change)
        self._services.on_change = self._on_service

    async def run(self) -> None:
        """Run until cancelled."""
        async with contextlib.AsyncExitStack() as stack:
            for part in (self._recorder, self._scheduler_recorder):
                await stack.enter_async_context(part)
            await self._register_nodes()
            caches = (*self._lookup.caches.values(), self._slices, self._nodes, self._pods)
            for cache in caches:
                await stack.enter_async_context(cache)
            await stack.enter_async_context(self._policies.watching())
            stack.callback(self._abandon_workers)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._scheduler.run())
                group.create_task(self._claims.run())
                group.create_task(self._beat())
                group.create_task(self._keep_hosts())
                group.create_task(self._policies.run())
                group.create_task(self._remove_orphans())

    def _abandon_workers(self) -> None:
        """Stop looking after the Pods; their processes run on."""
        for task in self._tasks:
            task.cancel()

    async def _register_nodes(self) -> None:
        """Make the declared Nodes, and remove those declared only in an earlier run; waits for the API server."""
        while True:
            try:
                present, _ = await self._client.list(NODES)
                for name in undeclared(present, self._specs):
                    await self._client.delete(NODES, None, name)
                for spec in self._specs.values():
                    await self._write_node(spec)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                logger.warning("registering nodes: %s; trying again", error)
                await asyncio.sleep(0.5)
            else:
                return

    async def _write_node(self, spec: NodeSpec) -> None:
        node = node_object(spec)
        try:
            created = await self._client.create(NODES, None, node)
            self._recorder.record(created, Event("Normal", "Starting", f"Node {spec.name} is declared"))
        except AlreadyExists:
            labels = {"metadata": {"labels": node["metadata"]["labels"]}}
            await self._client.patch(NODES, None, spec.name, labels)
        status = node_status(spec, self._settings.host_address, rfc3339(time.time()), self._ready_since)
        await self._client.patch(NODES, None, spec.name, {"status": status}, subresource="status")

    async def _beat(self) -> None:
        """Renew the Nodes' heartbeat now and then; a Node that was deleted, to lose it, comes back by this too."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for spec in self._specs.values():
                try:
                    await self._write_node(spec)
                except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                    logger.warning("heartbeat of %s: %s", spec.name, error)

    def _on_node(self, _kind: str, _node: Object) -> None:
        self._scheduler.wake.set()

    def _on_service(self, _kind: str, _service: Object) -> None:
        self._hosts_changed.set()

    def _on_pod(self, kind: str, pod: Object) -> None:
        self._scheduler.wake.set()
        self._hosts_changed.set()
        self._policies.touch()
        if pod["spec"].get("nodeName") not in self._specs:
            return
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if kind == "DELETED":
            if worker is not None:
                worker.vanish()
        elif worker is not None:
            worker.update(pod)
        else:
            self._workers[uid] = self._new_worker(pod)
            task = asyncio.create_task(self._keep_worker(uid), name=f"pod {pod['metadata']['name']}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _new_worker(self, pod: Object) -> PodWorker:
        allocatable = self._specs[pod["spec"]["nodeName"]].capacity
        context = PodContext(pod, self._settings, self._lookup, self._recorder, allocatable, lambda: None)
        return PodWorker(self._client, self._sandboxes, context, self._prepare_sandbox)

    async def _prepare_sandbox(self, uid: str) -> None:
        """What a new sandbox needs before its containers start. Raises `NetworkError`."""
        self._write_hosts()
        await self._policies.admit(uid)

    async def _keep_worker(self, uid: str) -> None:
        """Run a Pod's worker; one that ends by a bug is reported loudly and replaced by a fresh one."""
        while True:
            worker = self._workers[uid]
            try:
                await worker.run()
            except Exception as error:  # the boundary between one Pod and the others: a bug must not take them along
                pod = worker.context.pod
                logger.exception("a bug ended the worker of pod %s", pod["metadata"]["name"])
                told = f"the dev cluster's kubelet failed on this pod: {error!r}"
                self._recorder.record(pod, Event("Warning", "FailedSync", told))
                await asyncio.sleep(5)
                self._workers[uid] = self._new_worker(worker.context.pod)
                if self._pods.get(pod["metadata"]["namespace"], pod["metadata"]["name"]) is None:
                    self._workers[uid].vanish()
            else:
                del self._workers[uid]
                return

    async def _keep_hosts(self) -> None:
        """Rewrite the hosts files whenever a Pod or a Service has changed what they say."""
        while True:
            await self._hosts_changed.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._hosts_changed.clear()
            self._write_hosts()

    def _write_hosts(self) -> None:
        """Bring the hosts file of every sandbox up to date."""
        addresses = service_addresses(self._services.objects.values(), self._slices.objects.values())
        wanted = {
            uid: hosts_file(worker.context.pod, self._sandboxes.known[uid].address, addresses)
            for uid, worker in self._workers.items()
            if uid in self._sandboxes.known
        }
        for uid, content in wanted.items():
            if self._hosts_written.get(uid) != content:
                with contextlib.suppress(FileNotFoundError):  # the sandbox is just being removed
                    rewrite(self._sandboxes.known[uid].etc / "hosts", content)
        self._hosts_written = wanted

    async def _remove_orphans(self) -> None:
        """Remove what an earlier kubelet left of Pods that are gone, and the oldest logs, once the Pods are known."""
        await self._pods.synced.wait()
        living = {pod["metadata"]["uid"] for pod in self._pods.objects.values()}
        for entry in list(self._sandboxes.folder.iterdir()):
            if entry.name not in living:
                logger.info("removing the sandbox of a pod that is gone: %s", entry.name)
                await self._sandboxes.remove(entry.name)
        while True:
            living = {pod["metadata"]["uid"] for pod in self._pods.objects.values()}
            await asyncio.to_thread(logs.remove_old, self._settings.state, living)
            await asyncio.sleep(600)
