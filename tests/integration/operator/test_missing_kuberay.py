"""An operator that was installed before KubeRay: it says so, and goes on when KubeRay comes."""

import json

from integration.operator.conftest import JOBS, eventually, job
from integration.operator.test_endpoints import ENDPOINTS, endpoint
from integration.operator.test_jobs import created, driver_up

from devcluster.client import CUSTOM_RESOURCE_DEFINITIONS, EVENTS

SENTENCE = (
    "KubeRay is not installed: the API server does not know RayCluster of ray.io/v1. Install KubeRay 1.6 or newer."
)


def said(world):
    """The warnings about KubeRay in the operator's log."""
    lines = [json.loads(line) for line in world.operator.log.read_text().splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["level"] == "WARNING" and "KubeRay" in line["message"]]


async def waits(world, resource, name):
    """What the object says that it waits for."""
    status = (await world.client.get(resource, world.namespace, name)).get("status") or {}
    found = {of["type"]: of for of in status.get("conditions", ())}
    return found.get("Progressing", {}).get("reason") == "KubeRayMissing" and found["Progressing"]["message"]


async def events_of(world, name):
    found, _ = await world.client.list(EVENTS, world.namespace)
    return {of["reason"]: of for of in found if of["involvedObject"]["name"] == name}


async def test_a_kuberay_that_comes_after_the_operator_is_awaited_and_used_without_a_restart(world):
    await world.operator.stop()
    world.operator.log.write_text("")
    definition = await world.client.get(CUSTOM_RESOURCE_DEFINITIONS, None, "rayclusters.ray.io")
    await world.client.delete(CUSTOM_RESOURCE_DEFINITIONS, None, "rayclusters.ray.io")
    try:
        await world.operator.start()
        await world.apply(job())
        await world.client.create(ENDPOINTS, world.namespace, endpoint())
        for resource, name in ((JOBS, "tickets"), (ENDPOINTS, "chat")):
            message = await eventually(lambda resource=resource, name=name: waits(world, resource, name))
            assert message.startswith(SENTENCE)
            event = (await eventually(lambda name=name: events_of(world, name)))["KubeRayMissing"]
            assert event["type"] == "Warning"
            assert event["message"].startswith(SENTENCE)
        assert said(world) == [f"{SENTENCE} Jobs and endpoints wait for it."]
        await world.client.delete(ENDPOINTS, world.namespace, "chat")
    finally:
        fresh = {**definition, "metadata": {"name": "rayclusters.ray.io"}}
        fresh.pop("status", None)
        await eventually(lambda: created(world, fresh))
    await driver_up(world)
    assert world.operator.running
    assert len(await world.clusters()) == 1
