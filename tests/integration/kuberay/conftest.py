"""The KubeRay stand-in's controller on a real API server, with the test in the kubelet's place."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import pytest_asyncio

from devcluster.client import EVENTS, PODS, RAY_CLUSTERS, Client
from devcluster.kuberay.controller import Controller


@dataclass(frozen=True)
class Team:
    """One namespace, seen through the API, with what a kubelet would do on demand."""

    client: Client
    namespace: str

    async def create(self, cluster):
        """Create a RayCluster and return it as stored."""
        cluster = {**cluster, "metadata": {**cluster["metadata"], "namespace": self.namespace}}
        cluster["metadata"] = {key: cluster["metadata"][key] for key in ("name", "namespace")}
        cluster.pop("status", None)
        return await self.client.create(RAY_CLUSTERS, self.namespace, cluster)

    async def patch(self, patch, name="demo"):
        return await self.client.patch(RAY_CLUSTERS, self.namespace, name, patch)

    async def status(self, name="demo"):
        return (await self.client.get(RAY_CLUSTERS, self.namespace, name)).get("status") or {}

    async def condition(self, kind, name="demo"):
        conditions = (await self.status(name)).get("conditions") or []
        return next((entry["status"] for entry in conditions if entry["type"] == kind), None)

    async def pods(self, node_type=""):
        """Names of the pods, of one type or of both, in the server's order."""
        selector = f"ray.io/node-type={node_type}" if node_type else ""
        found, _ = await self.client.list(PODS, self.namespace, selector)
        return [pod["metadata"]["name"] for pod in found]

    async def events(self):
        found, _ = await self.client.list(EVENTS, self.namespace)
        return {event["reason"]: event["message"] for event in found}

    async def report(self, *, phase="Running", ready=True, only=None):
        """Stands for the kubelet: says of every pod, or of the named one, how it does."""
        for name in await self.pods() if only is None else [only]:
            ready_condition = {"type": "Ready", "status": "True" if ready and phase == "Running" else "False"}
            status = {"phase": phase, "podIP": "10.77.0.9", "conditions": [ready_condition]}
            await self.client.patch(PODS, self.namespace, name, {"status": status}, subresource="status")

    async def finish_deletions(self):
        """Stands for the kubelet: pods that were asked to go are gone."""
        found, _ = await self.client.list(PODS, self.namespace)
        for pod in found:
            if pod["metadata"].get("deletionTimestamp"):
                await self.client.delete(PODS, self.namespace, pod["metadata"]["name"], grace_seconds=0)


async def eventually(check, *, seconds=30.0):
    """Wait until an asynchronous check answers truthfully, and return its answer."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = await check()
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"not true within {seconds} s: {check}"
        await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def team(client, namespace):
    """The namespace, while the controller works."""
    task = asyncio.create_task(Controller(client).run())
    yield Team(client, namespace)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
