"""One Pod's worker: sandbox, init containers in order, containers together, then the end.

A worker is told of each change of its Pod (`update`) and of its disappearance (`vanish`), and keeps the Pod's
status up to date. The kubelet may stop at any moment (`abandon`): the Pod's processes run on, and the worker of
the next kubelet takes them up again from the sandbox's folder.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from devcluster.client import PODS, ApiError, Client, Conflict, NotFound
from devcluster.kubelet import devices, logs, status
from devcluster.kubelet.containers import Container
from devcluster.kubelet.context import PodContext
from devcluster.kubelet.network import NetworkError
from devcluster.kubelet.pod_volumes import PodVolumes
from devcluster.kubelet.sandbox import Sandboxes
from devcluster.kubelet.states import Terminated

logger = logging.getLogger(__name__)

Object = dict[str, Any]

RETRY_SECONDS = 1.0


def refuse_unsupported(pod: Object) -> None:
    """Raise `NetworkError` for what in a Pod's spec this kubelet cannot do and must not ignore."""
    shared = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod["spec"].get(name)]
    if shared:
        raise NetworkError(f"{', '.join(shared)}: not offered by the dev cluster, pods have their own namespaces")


class PodWorker:
    """Runs one Pod from its binding to its deletion.

    `prepare_sandbox(uid)` is called when its address is known, and may raise `NetworkError` to be called again.
    """

    def __init__(
        self,
        client: Client,
        sandboxes: Sandboxes,
        context: PodContext,
        prepare_sandbox: Callable[[str], Awaitable[None]],
    ) -> None:
        self.context = context
        self._client = client
        self._sandboxes = sandboxes
        self._prepare_sandbox = prepare_sandbox
        self._started_at = time.time()
        self._ending = asyncio.Event()
        self._vanished = False
        self._dirty = asyncio.Event()
        self._written: Object = {}
        self._address = ""
        spec = context.pod["spec"]
        self._volumes = PodVolumes(context)
        first = spec.get("initContainers") or []
        self._init = [Container(context, self._volumes, one, init=True) for one in first]
        self._main = [Container(context, self._volumes, one, init=False) for one in spec["containers"]]
        context.changed = self._dirty.set
        self.update(context.pod)

    @property
    def uid(self) -> str:
        """The Pod's."""
        return str(self.context.pod["metadata"]["uid"])

    def update(self, pod: Object) -> None:
        """Take note of a newer version of the Pod."""
        self.context.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._ending.set()

    def vanish(self) -> None:
        """The Pod is no longer in the API: end it at once, without grace."""
        self._vanished = True
        self._ending.set()

    async def run(self) -> None:
        """Run the Pod to the end of its time in the API."""
        writing = asyncio.create_task(self._write_status_for_ever())
        try:
            self._recall()
            if status_phase(self.context.pod) in {"Succeeded", "Failed"}:
                await self._sandboxes.remove(self.uid)
            elif not self._ending.is_set():
                await self._run_until_told_to_end()
            await self._ending.wait()
            await self._end()
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
        await self._finish()

    def _recall(self) -> None:
        """Take up the sandbox and the processes that an earlier kubelet left."""
        present = self._sandboxes.standing(self.uid)
        if present is not None:
            self.context.sandbox = present
            self._started_at, self._address = present.started_at, present.address
            for container in (*self._init, *self._main):
                container.recall()

    async def _run_until_told_to_end(self) -> None:
        running = asyncio.create_task(self._run_containers())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait([running, ending], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                await self._surely(self._write_status)
                await self._sandboxes.remove(self.uid)
        finally:
            ending.cancel()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def _run_containers(self) -> None:
        """Run all containers; returns when none will start again."""
        await self._make_sandbox()
        beside = [asyncio.create_task(self._volumes.keep_up_to_date())]
        try:
            for container in self._init:
                if container.spec.get("restartPolicy") == "Always":
                    beside.append(asyncio.create_task(container.run()))
                    await container.started.wait()
                    continue
                await container.run()
                if isinstance(container.view.state, Terminated) and container.view.state.exit_code:
                    return
            async with asyncio.TaskGroup() as group:
                for container in self._main:
                    group.create_task(container.run())
        finally:
            for task in beside:
                task.cancel()
        until = time.time() + self.context.grace_seconds()
        for container in self._init:
            await container.stop(lambda: until)

    async def _make_sandbox(self) -> None:
        while True:
            try:
                refuse_unsupported(self.context.pod)
                taken = [device for sandbox in self._sandboxes.known.values() for device in sandbox.devices]
                wanted = devices.allocate(self.context.pod, devices.devices_of_host(), taken)
                self.context.sandbox = await self._sandboxes.ensure(self.context.pod, wanted)
                await self._prepare_sandbox(self.uid)
                break
            except (NetworkError, OSError) as error:
                self.context.tell("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
                await asyncio.sleep(RETRY_SECONDS)
        self._started_at = self.context.sandbox.started_at
        self._address = self.context.sandbox.address
        await self._annotate()
        self._dirty.set()

    async def _annotate(self) -> None:
        """Say on the Pod where its logs are."""
        wanted = logs.annotations(self.context.settings.state, self.context.pod)
        present = self.context.pod["metadata"].get("annotations") or {}
        if wanted.items() <= present.items():
            return
        metadata = self.context.pod["metadata"]
        body = {"metadata": {"uid": self.uid, "annotations": wanted}}
        await self._surely(lambda: self._client.patch(PODS, metadata["namespace"], metadata["name"], body))

    async def _end(self) -> None:
        """Stop what runs, within the grace period, and write the last status."""
        if self.uid in self._sandboxes.known:
            everyone = [*self._main, *self._init]
            await asyncio.gather(*(container.stop(self._deadline) for container in everyone))
            await self._surely(self._write_status)
        await self._sandboxes.remove(self.uid)

    def _deadline(self) -> float:
        return 0.0 if self._vanished else self.context.deadline()

    async def _finish(self) -> None:
        """Take the Pod out of the API, now that nothing of it is left on this machine."""
        metadata = self.context.pod["metadata"]
        where = PODS, metadata["namespace"], metadata["name"]
        await self._surely(lambda: self._client.delete(*where, grace_seconds=0, uid=self.uid))

    async def _surely(self, request: Callable[[], Awaitable[object]]) -> None:
        """Make a request about the Pod, however long the API server is away; not about one that has vanished."""
        while not self._vanished:
            try:
                with contextlib.suppress(
                    NotFound, Conflict
                ):  # gone, or another Pod of this name: the watch will say so
                    await request()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                logger.warning("pod %s: %s; trying again", self.context.pod["metadata"]["name"], error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _view(self) -> status.PodView:
        return status.PodView(
            self.context.settings.host_address,
            self._started_at,
            self._address,
            tuple(container.view for container in self._init),
            tuple(container.view for container in self._main),
            stopping=self._ending.is_set(),
        )

    async def _write_status_for_ever(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._surely(self._write_status)

    async def _write_status(self) -> None:
        wanted = status.build(self.context.pod, self._view(), time.time(), self._written)
        if wanted == self._written:
            return
        metadata = self.context.pod["metadata"]
        body = {"metadata": {"uid": self.uid}, "status": wanted}
        await self._client.patch(PODS, metadata["namespace"], metadata["name"], body, subresource="status")
        self._written = wanted


def status_phase(pod: Object) -> str:
    """The phase as the API has it."""
    return str((pod.get("status") or {}).get("phase") or "Pending")
