"""Whole endpoints through the real operator process: Kopf's watches, a real API server, the KubeRay stand-in.

The test stands for the kubelet and, with `ServeStandIn`, for the Ray of each revision.
"""

import asyncio
import random
import signal
from contextlib import suppress

import pytest_asyncio
from integration.operator.conftest import OperatorProcess, eventually
from integration.operator.serve_stand_in import ServeStandIn

from devcluster.client import EVENTS, PODS, RAY_CLUSTERS, SECRETS, SERVICES, Conflict, NotFound, Resource
from devcluster.kuberay.controller import Controller
from tidemill_api import labels
from tidemill_api.endpoint_contract import ENGINE_DEPLOYMENT, INGRESS_DEPLOYMENT, EngineProblem

ENDPOINTS = Resource("tidemill.dev", "v1alpha1", "realtimeendpoints")


def endpoint(**spec):
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "RealtimeEndpoint",
        "metadata": {"name": "chat"},
        "spec": {
            "model": {"name": "smollm2", "source": "HuggingFaceTB/SmolLM2-135M-Instruct"},
            "replicas": {"min": 1, "max": 4},
            "scaling": {
                "targetQueueDepth": 10,
                "scaleDown": {"stabilizationSeconds": 0},
                "scaleToZeroAfterSeconds": 1,
            },
            **spec,
        },
    }


class World:
    """One namespace as a user, a kubelet and Ray see it."""

    def __init__(self, client, namespace, operator):
        self.client, self.namespace, self.operator = client, namespace, operator
        self.rays: dict[str, ServeStandIn] = {}
        self.over = False
        self.prefix = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self.number = 1
        self.ips: dict[str, str] = {}
        self.broken = ""
        self.heads_drain = False

    async def status(self):
        return (await self.client.get(ENDPOINTS, self.namespace, "chat")).get("status") or {}

    async def condition(self, of):
        found = {c["type"]: c for c in (await self.status()).get("conditions", ())}
        return (found[of]["status"], found[of]["reason"]) if of in found else ("", "")

    async def message(self, of):
        return next(c["message"] for c in (await self.status())["conditions"] if c["type"] == of)

    async def until(self, of, expected, seconds=30.0):
        async def is_so():
            return await self.condition(of) == expected

        await eventually(is_so, seconds=seconds)

    async def edit(self, **spec):
        await self.client.patch(ENDPOINTS, self.namespace, "chat", {"spec": spec})

    async def clusters(self):
        return (await self.client.list(RAY_CLUSTERS, self.namespace))[0]

    async def serving(self):
        """The revision that the Service leads to."""
        with suppress(NotFound):
            service = await self.client.get(SERVICES, self.namespace, "chat")
            return service["spec"]["selector"][labels.REVISION]
        return ""

    async def replicas(self):
        return [c["spec"]["workerGroupSpecs"][0]["replicas"] for c in await self.clusters()]

    async def events(self):
        found, _ = await self.client.list(EVENTS, self.namespace)
        return {e["reason"] for e in found if e["involvedObject"]["kind"] == "RealtimeEndpoint"}

    def ray(self):
        (ray,) = self.rays.values()
        return ray

    async def be_kubelet(self):
        while not self.over:
            pods, _ = await self.client.list(PODS, self.namespace)
            gone = self.ips.keys() - {pod["metadata"]["name"] for pod in pods}
            for name in gone:  # first: a new worker must not join the head before, of a cluster of the same name
                await self._forget(self.ips.pop(name))
            for pod in pods:
                with suppress(NotFound, Conflict):
                    await self._pod(pod)
            await asyncio.sleep(0.05)

    async def _forget(self, ip):
        for cluster, ray in list(self.rays.items()):
            await ray.pod_is_gone(ip)
            if ray.ip == ip:
                await self.rays.pop(cluster).stop()

    async def _pod(self, pod):
        name, pod_labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        cluster, head = pod_labels["ray.io/cluster"], pod_labels["ray.io/node-type"] == "head"
        ray = self.rays.get(cluster)
        if "deletionTimestamp" in pod["metadata"]:
            drained = not self.heads_drain or ray is None or ray.ended
            if (head and drained) or ray is None or ray.pod_drains(self.ips.get(name, "")):
                await self.client.delete(PODS, self.namespace, name, grace_seconds=0)
            return
        if name in self.ips or (ray is None and not head):
            return
        self.number += 1
        ip = self.ips[name] = f"{self.prefix}.{self.number}"
        if head:
            ray = self.rays[cluster] = ServeStandIn(ip)
            ray.broken = self.broken
            await ray.start()
        else:
            await ray.pod_is_ready(ip)
        status = {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}
        await self.client.patch(PODS, self.namespace, name, {"status": status}, subresource="status")


@pytest_asyncio.fixture
async def world(client, namespace, account, tmp_path):
    made = World(client, namespace, OperatorProcess(account.kubeconfig, namespace, tmp_path / "operator.log"))
    kuberay, kubelet = asyncio.create_task(Controller(client).run()), asyncio.create_task(made.be_kubelet())
    await made.operator.start()
    try:
        yield made
    finally:
        with suppress(NotFound):
            await client.delete(ENDPOINTS, namespace, "chat")
        if made.operator.running:
            await made.operator.stop()
        await asyncio.sleep(0.2)
        made.over = True  # not cancelled: half way through a pod it would leave its servers open
        await kubelet
        kuberay.cancel()
        with suppress(asyncio.CancelledError):
            await kuberay
        for ray in made.rays.values():
            await ray.stop()


async def applied(world, **spec):
    await world.client.create(ENDPOINTS, world.namespace, endpoint(**spec))


async def up(world, **spec):
    await applied(world, **spec)
    await world.until("Progressing", ("False", "Settled"))


async def test_an_endpoint_comes_up_and_says_where_it_is(world):
    await up(world)
    status = await world.status()
    assert await world.condition("Ready") == ("True", "Serving")
    assert status["url"] == f"http://chat.{world.namespace}.svc/v1"
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    assert await world.serving() == status["revision"]["serving"]
    assert world.ray().targets == {ENGINE_DEPLOYMENT: 1, INGRESS_DEPLOYMENT: 2}
    assert len(world.ray().puts) == 1
    await eventually(lambda: _told(world, {"RevisionCreated", "RevisionServes", "Serving"}))


async def test_it_grows_with_its_queue_and_shrinks_by_pods_that_drain(world):
    await up(world)
    world.ray().waiting = 30
    await eventually(lambda: _replicas(world, [3]))
    await eventually(lambda: _targets(world, 3))
    world.ray().waiting = 0
    await eventually(lambda: _replicas(world, [1]))
    await eventually(lambda: _targets(world, 1))
    await world.until("Progressing", ("False", "Settled"))
    await eventually(lambda: _workers(world, 1))  # the stand-in hears of pods that have gone after the operator
    await eventually(lambda: _told(world, {"ScaledUp", "ScaledDown"}))
    assert len(world.ray().puts) == 1, "sizes are no PUTs"


async def _told(world, reasons):
    """Events follow the status that they speak of."""
    return reasons <= await world.events()


async def _replicas(world, expected):
    return await world.replicas() == expected


async def _workers(world, count):
    return len(world.ray().workers) == count


async def _targets(world, engines):
    return world.ray().targets == {ENGINE_DEPLOYMENT: engines, INGRESS_DEPLOYMENT: engines + 1}


async def test_it_sleeps_when_nobody_asks_and_wakes_with_the_first_request(world):
    await up(world, replicas={"min": 0, "max": 2})
    await eventually(lambda: _replicas(world, [0]))
    await eventually(lambda: _targets(world, 0))
    await world.until("Available", ("True", "ScaledToZero"))
    world.ray().waiting = 1
    await eventually(lambda: _replicas(world, [1]))
    await world.until("Available", ("True", "ReplicasRunning"))


async def test_a_cluster_that_somebody_deletes_is_made_again_with_a_token_of_its_own(world):
    await up(world)
    (before,) = await world.clusters()
    await world.client.delete(RAY_CLUSTERS, world.namespace, before["metadata"]["name"])

    async def made_again():
        return [c["metadata"]["uid"] for c in await world.clusters()] not in ([], [before["metadata"]["uid"]])

    await eventually(made_again)
    await world.until("Progressing", ("False", "Settled"))
    (secret,) = (await world.client.list(SECRETS, world.namespace))[0]
    (owner,) = secret["metadata"]["ownerReferences"]
    assert owner["uid"] == (await world.clusters())[0]["metadata"]["uid"]


async def test_a_changed_model_is_brought_up_beside_the_old_one_which_then_goes(world):
    await up(world)
    before = await world.serving()
    await world.edit(model={"source": "HuggingFaceTB/SmolLM2-360M-Instruct"})

    async def moved():
        return await world.serving() not in ("", before)

    await eventually(moved)
    assert len(await world.clusters()) == 2
    await world.until("Progressing", ("True", "DrainingOldRevision"))
    await world.until("Progressing", ("False", "Settled"), seconds=60)
    (left,) = await world.clusters()
    assert left["metadata"]["labels"][labels.REVISION] == await world.serving()
    assert [s["metadata"]["name"] for s in (await world.client.list(SECRETS, world.namespace))[0]] == [
        f"{left['metadata']['name']}-token"
    ]


async def test_an_operator_that_is_killed_goes_on_where_it_was(world):
    await applied(world)
    await asyncio.sleep(0.5)
    for _ in range(3):
        await world.operator.stop(by=signal.SIGKILL)
        await world.operator.start()
        await asyncio.sleep(1.0)
    await world.until("Progressing", ("False", "Settled"))
    assert len(await world.clusters()) == 1
    assert len(world.ray().puts) == 1, "the same again is told only where something is missing"


async def test_new_limits_are_told_at_once_and_without_a_new_revision(world):
    await up(world)
    await world.edit(limits={"queueBound": 5})

    async def told():
        return len(world.ray().puts) == 2

    await eventually(told)
    assert world.ray().told[INGRESS_DEPLOYMENT]["user_config"]["queue_bound"] == 5
    assert len(await world.clusters()) == 1


async def test_a_missing_secret_is_awaited_and_found(world):
    await applied(world, auth={"secretRef": {"name": "keys"}})
    await world.until("Progressing", ("False", "SecretNotFound"))
    assert await world.clusters() == []
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"team-a": "sk-1"}}
    await world.client.create(SECRETS, world.namespace, secret)
    await world.until("Ready", ("True", "Serving"), seconds=60)


async def test_a_model_that_cannot_load_is_said_and_heals_when_it_is_mended(world):
    problem = EngineProblem(reason="ModelNotLoadable", message="config.json is not JSON: mend it.")
    world.broken = f"Traceback\nEngineStartError: {problem.to_text()}"
    await applied(world)
    await world.until("Progressing", ("False", "ModelNotLoadable"))
    assert "config.json is not JSON" in await world.message("Progressing")
    await eventually(lambda: _replicas(world, [0]))
    world.ray().broken = ""
    await world.until("Ready", ("True", "Serving"), seconds=60)


async def test_a_silent_head_changes_nothing(world):
    await up(world)
    world.ray().silent = True
    await asyncio.sleep(1)  # a look that began before is over
    world.ray().waiting = 30
    await asyncio.sleep(3)
    assert await world.replicas() == [1]
    world.ray().silent = False
    await eventually(lambda: _replicas(world, [3]))


async def test_what_an_api_server_takes_and_the_operator_does_not_is_said(world):
    await applied(world, template={"serviceAccountName": "admin"})
    await world.until("Progressing", ("False", "InvalidSpec"))
    assert "template.serviceAccountName: admin is not on the operator's list" in await world.message("Progressing")
    await world.edit(template={"serviceAccountName": ""})
    await world.until("Ready", ("True", "Serving"))


async def test_a_service_of_somebody_else_is_left_alone_and_nothing_is_made(world):
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "chat"},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 80}]},
    }
    await world.client.create(SERVICES, world.namespace, foreign)
    await applied(world)
    await world.until("Progressing", ("False", "ServiceNameTaken"))
    assert await world.clusters() == []
    await world.client.delete(SERVICES, world.namespace, "chat")
    await world.until("Ready", ("True", "Serving"), seconds=60)


async def test_the_end_of_an_endpoint_is_told_to_its_serve_so_that_the_pods_need_not_drain_to_their_deadline(world):
    await up(world)
    world.heads_drain = True
    await world.client.delete(ENDPOINTS, world.namespace, "chat")

    async def gone():
        return not (await world.client.list(PODS, world.namespace))[0]

    await eventually(gone)


async def test_a_service_that_is_deleted_is_made_again(world):
    await up(world)
    serving = await world.serving()
    await world.client.delete(SERVICES, world.namespace, "chat")

    async def stands_again():
        return await world.serving() == serving

    await eventually(stands_again)
    assert len(await world.clusters()) == 1
