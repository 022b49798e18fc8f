"""The shell around `scheduling`: watches Pods and Nodes, binds, and says why a Pod waits."""

import asyncio
import logging
import time
from typing import Any

import aiohttp

from devcluster.cache import Cache
from devcluster.client import PODS, ApiError, Client, Conflict, NotFound
from devcluster.kubelet.events import Event, EventRecorder
from devcluster.kubelet.scheduling import Key, schedule
from devcluster.kubelet.states import rfc3339

logger = logging.getLogger(__name__)

Object = dict[str, Any]

GATHER_SECONDS = 0.02
"""Changes that come together are looked at together."""
LOOK_AGAIN_SECONDS = 30.0


class Scheduler:
    """Binds the Pods of one API server to its Nodes.

    State is what the caches say; nothing is remembered but which Pods it has bound a moment ago, before the
    watch tells, and what it said of those that wait.
    """

    def __init__(self, client: Client, recorder: EventRecorder, pods: Cache, nodes: Cache) -> None:
        self._client = client
        self._recorder = recorder
        self._pods = pods
        self._nodes = nodes
        self._bound: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Schedule whenever `wake` is set, and now and then."""
        await asyncio.gather(self._pods.synced.wait(), self._nodes.synced.wait())
        while True:
            await asyncio.sleep(GATHER_SECONDS)
            self.wake.clear()
            try:
                await self._round()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                logger.warning("scheduling: %s; trying again", error)
                await asyncio.sleep(1)
                continue
            try:
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await self.wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        pods = [self._with_binding(pod) for pod in self._pods.objects.values()]
        uids = {pod["metadata"]["uid"] for pod in pods}
        self._bound = {uid: node for uid, node in self._bound.items() if uid in uids}
        self._told = {uid: text for uid, text in self._told.items() if uid in uids}
        result = schedule(pods, list(self._nodes.objects.values()))
        for key, node in result.placements.items():
            await self._bind(key, node)
        for key, reason in result.reasons.items():
            await self._refuse(key, reason)
        await self._remove_unbound(pods)
        await self._remove_homeless(pods)

    def _with_binding(self, pod: Object) -> Object:
        """The Pod with the node it was bound to, before the watch has told of that."""
        node = self._bound.get(pod["metadata"]["uid"])
        if node is None or pod["spec"].get("nodeName"):
            return pod
        return {**pod, "spec": {**pod["spec"], "nodeName": node}}

    async def _bind(self, key: Key, node: str) -> None:
        pod = self._pods.objects.get(key)
        if pod is None:
            return
        namespace, name = key
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create(PODS, namespace, binding, name=name, subresource="binding")
        except (NotFound, Conflict) as error:
            logger.info("binding %s/%s: %s", namespace, name, error)
            return
        self._bound[pod["metadata"]["uid"]] = node
        told = f"Successfully assigned {namespace}/{name} to {node}"
        self._recorder.record(pod, Event("Normal", "Scheduled", told))

    async def _refuse(self, key: Key, reason: str) -> None:
        pod = self._pods.objects.get(key)
        if pod is None or self._told.get(pod["metadata"]["uid"]) == reason:
            return
        namespace, name = key
        uid = pod["metadata"]["uid"]
        before = (pod.get("status") or {}).get("conditions") or []
        unscheduled = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": reason,
            "lastTransitionTime": _since(before) or rfc3339(time.time()),
        }
        conditions = [*(one for one in before if one["type"] != "PodScheduled"), unscheduled]
        body = {"metadata": {"uid": uid}, "status": {"phase": "Pending", "conditions": conditions}}
        try:
            await self._client.patch(PODS, namespace, name, body, subresource="status")
        except (NotFound, Conflict):
            return
        self._told[uid] = reason
        self._recorder.record(pod, Event("Warning", "FailedScheduling", reason))

    async def _remove_unbound(self, pods: list[Object]) -> None:
        """A Pod deleted before it had a node has no kubelet to say that it is gone."""
        for pod in pods:
            if pod["metadata"].get("deletionTimestamp") and not pod["spec"].get("nodeName"):
                await self._delete(pod)

    async def _remove_homeless(self, pods: list[Object]) -> None:
        """Pods of a Node that was deleted are gone with it."""
        names = {name for _, name in self._nodes.objects}
        for pod in pods:
            node = pod["spec"].get("nodeName")
            if node and node not in names:
                await self._delete(pod)

    async def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.delete(
                PODS, metadata["namespace"], metadata["name"], grace_seconds=0, uid=metadata["uid"]
            )
        except (NotFound, Conflict):
            return


def _since(conditions: list[Object]) -> str:
    """Since when a Pod has been known to be unscheduled, if it is."""
    for condition in conditions:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("lastTransitionTime") or "")
    return ""
