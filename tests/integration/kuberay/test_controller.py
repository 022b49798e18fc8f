"""The stand-in's controller over HTTP: what A1 and A2 of the reference promise, on a real API server."""

import asyncio

import pytest
from integration.kuberay.conftest import eventually
from unit.kuberay.builders import cluster, worker_group

from devcluster.client import PODS, RAY_CLUSTERS, SECRETS, SERVICES, NotFound


def groups(**fields):
    return {"spec": {"workerGroupSpecs": [worker_group(**fields)]}}


async def started(team, replicas=1, **spec):
    """A cluster whose pods all run."""
    await team.create(cluster(groups=[worker_group(replicas=replicas)], **spec))

    async def complete():
        return len(await team.pods()) == replicas + 1

    await eventually(complete)
    await team.report()
    await eventually(lambda: team.condition("RayClusterProvisioned"))

    async def provisioned():
        return await team.condition("RayClusterProvisioned") == "True"

    await eventually(provisioned)


async def workers(team, count):
    """The worker pods once there are so many that are not on their way out."""

    async def enough():
        found, _ = await team.client.list(PODS, team.namespace, "ray.io/node-type=worker")
        names = [pod["metadata"]["name"] for pod in found if not pod["metadata"].get("deletionTimestamp")]
        return names if len(names) == count else None

    return await eventually(enough) if count else await eventually(lambda: none_left(team))


async def none_left(team):
    found, _ = await team.client.list(PODS, team.namespace, "ray.io/node-type=worker")
    return all(pod["metadata"].get("deletionTimestamp") for pod in found)


async def test_a_cluster_becomes_pods_a_service_and_a_status(team):
    await started(team, replicas=2)

    async def ready():
        status = await team.status()
        return status if status.get("state") == "ready" else None

    status = await eventually(ready)
    (head,) = await team.pods("head")
    assert status["head"] == {
        "podName": head,
        "podIP": "10.77.0.9",
        "serviceName": "demo-head-svc",
        "serviceIP": "10.77.0.9",
    }
    assert status["readyWorkerReplicas"] == status["desiredWorkerReplicas"] == 2
    assert status["endpoints"]["dashboard"] == "8265"
    assert (await team.client.get(SERVICES, team.namespace, "demo-head-svc"))["spec"]["clusterIP"] == "None"
    events = await team.events()
    assert events["CreatedHeadPod"] == f"Created head Pod {team.namespace}/{head}"
    assert {"CreatedService", "CreatedWorkerPod"} <= events.keys()


async def test_exactly_one_head_is_made_however_slow_the_cache(team):
    await team.create(cluster(groups=[]))
    for _ in range(10):
        await team.patch({"metadata": {"annotations": {"touched": str(_)}}})
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert len(await team.pods("head")) == 1


async def test_replicas_go_up_and_down_within_their_bounds(team):
    """A2, replicas up, and replicas down with autoscaling off."""
    await started(team)
    await team.patch(groups(replicas=9))
    assert len(await workers(team, 4)) == 4

    async def told():
        return (await team.status())["desiredWorkerReplicas"] == 4

    await eventually(told)
    first = (await team.pods("worker"))[:2]
    await team.patch(groups(replicas=2))
    kept = await workers(team, 2)
    assert not set(first) & set(kept)

    async def announced():
        return "DeletedWorkerPod" in await team.events()

    await eventually(announced)


async def test_named_workers_go_and_their_names_stay(team):
    """A1 and A2: workersToDelete, in the JSON patch that Ray's own autoscaler would send."""
    await started(team, replicas=2)
    victim = (await team.pods("worker"))[1]
    path = "/spec/workerGroupSpecs/0"
    await team.client.patch(
        RAY_CLUSTERS,
        team.namespace,
        "demo",
        [
            {"op": "test", "path": f"{path}/groupName", "value": "workers"},
            {"op": "replace", "path": f"{path}/replicas", "value": 1},
            {"op": "add", "path": f"{path}/scaleStrategy", "value": {"workersToDelete": [victim]}},
        ],
    )
    assert victim not in await workers(team, 1)
    found = await team.client.get(RAY_CLUSTERS, team.namespace, "demo")
    assert found["spec"]["workerGroupSpecs"][0]["scaleStrategy"] == {"workersToDelete": [victim]}


async def test_a_named_worker_without_lower_replicas_is_replaced(team):
    await started(team)
    (victim,) = await team.pods("worker")
    await team.patch(groups(replicas=1, scaleStrategy={"workersToDelete": [victim]}))

    async def replaced():
        await team.finish_deletions()
        return [name for name in await team.pods("worker") if name != victim]

    await eventually(replaced)


async def test_a_group_waits_for_a_deleted_worker_to_be_gone(team):
    await started(team)
    (going,) = await team.pods("worker")
    hold = {"metadata": {"finalizers": ["tests.tidemill.dev/slow-to-go"]}}
    await team.client.patch(PODS, team.namespace, going, hold)
    await team.patch(groups(replicas=0))
    assert await workers(team, 0)
    await team.patch(groups(replicas=2))
    await asyncio.sleep(0.3)
    assert await team.pods("worker") == [going]
    await team.client.patch(PODS, team.namespace, going, {"metadata": {"finalizers": None}})
    assert len(await workers(team, 2)) == 2


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_an_ended_worker_is_replaced(team, phase):
    """A2, pod Failed or Succeeded."""
    await started(team)
    (old,) = await team.pods("worker")
    await team.report(only=old, phase=phase)

    async def replaced():
        await team.finish_deletions()
        return [name for name in await team.pods("worker") if name != old]

    await eventually(replaced)


async def test_a_lost_head_is_made_again(team):
    await started(team)
    (old,) = await team.pods("head")
    await team.client.delete(PODS, team.namespace, old, grace_seconds=0)

    async def replaced():
        return [name for name in await team.pods("head") if name != old]

    await eventually(replaced)
    assert await team.condition("RayClusterProvisioned") == "True"


async def test_suspending_deletes_the_pods_and_resuming_makes_them_again(team):
    """A1, spec.suspend."""
    await started(team)
    await team.patch({"spec": {"suspend": True}})

    async def suspended():
        await team.finish_deletions()
        return await team.condition("RayClusterSuspended") == "True"

    await eventually(suspended)
    assert await team.pods() == []
    assert (await team.status())["state"] == "suspended"
    assert await team.condition("RayClusterProvisioned") == "False"
    await team.patch({"spec": {"suspend": False}})
    await workers(team, 1)
    assert await team.condition("RayClusterSuspended") == "False"


async def test_recreate_makes_every_pod_again_after_a_changed_template(team):
    """A2, template changed, with upgradeStrategy Recreate."""
    await started(team, upgradeStrategy={"type": "Recreate"})
    before = set(await team.pods())
    changed = worker_group()
    changed["template"]["spec"]["containers"][0]["image"] = "tidemill:new"
    await team.patch({"spec": {"workerGroupSpecs": [changed]}})

    async def renewed():
        await team.finish_deletions()
        names = set(await team.pods())
        return len(names) == 2 and not names & before

    await eventually(renewed)


async def test_deleting_a_cluster_leaves_no_child(team):
    await started(team, authOptions={"mode": "token"})
    secret = await team.client.get(SECRETS, team.namespace, "demo")
    assert set(secret["data"]) == {"auth_token"}
    await team.client.delete(RAY_CLUSTERS, team.namespace, "demo")

    async def gone():
        await team.finish_deletions()
        services, _ = await team.client.list(SERVICES, team.namespace)
        secrets, _ = await team.client.list(SECRETS, team.namespace, "ray.io/cluster=demo")
        return not await team.pods() and not services and not secrets

    await eventually(gone)
    with pytest.raises(NotFound):
        await team.client.get(RAY_CLUSTERS, team.namespace, "demo")


async def test_a_cluster_with_tables_in_redis_goes_when_redis_is_clean(team):
    await started(team, gcsFaultToleranceOptions={"redisAddress": "redis:6379"})
    await team.client.delete(RAY_CLUSTERS, team.namespace, "demo")

    async def cleaning():
        await team.finish_deletions()
        return await team.pods("redis-cleanup") == ["demo-redis-cleanup"] == await team.pods()

    await eventually(cleaning)
    await team.report(phase="Succeeded")

    async def gone():
        found, _ = await team.client.list(RAY_CLUSTERS, team.namespace)
        return not found

    await eventually(gone)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (cluster("a" * 54), "no more than 53 characters"),
        (cluster(groups=[worker_group(minReplicas=5)]), "greater than maxReplicas 4"),
        (cluster(authOptions={"mode": "token"}, rayVersion=""), "RayVersion was not specified"),
        (cluster(enableInTreeAutoscaling=True), "stand-in for KubeRay does not offer spec.enableInTreeAutoscaling"),
    ],
)
async def test_a_refused_cluster_gets_one_warning_and_nothing_else(team, given, words):
    await team.create(given)

    async def warned():
        return [message for message in (await team.events()).values() if words in message]

    await eventually(warned)
    await asyncio.sleep(0.1)
    assert await team.pods() == []
    assert await team.status(given["metadata"]["name"]) == {}


async def test_with_autoscaling_on_lower_replicas_delete_nothing(team):
    """A2, replicas down, autoscaling on: the stand-in refuses it by name, and nothing is deleted either."""
    await started(team, replicas=2)
    await team.patch({"spec": {"enableInTreeAutoscaling": True, "workerGroupSpecs": [worker_group(replicas=0)]}})

    async def warned():
        return "InvalidRayClusterSpec" in await team.events()

    await eventually(warned)
    await asyncio.sleep(0.1)
    assert len(await workers(team, 2)) == 2


async def test_a_cluster_of_another_controller_is_left_alone(team):
    """A1, spec.managedBy."""
    await team.create(cluster(managedBy="kueue.x-k8s.io/multikueue"))
    await team.create(cluster("mine", groups=[], managedBy="ray.io/kuberay-operator"))
    await eventually(lambda: team.pods("head"))
    assert [name for name in await team.pods() if name.startswith("demo")] == []
    assert await team.status() == {}


async def test_a_pod_that_cannot_be_created_shows_as_replica_failure(team):
    await team.create(cluster(groups=[worker_group("no_pod_name")]))

    async def told():
        return await team.condition("ReplicaFailure") == "True"

    await eventually(told)
    events = await team.events()
    assert "FailedToCreateWorkerPod" in events
    await team.patch({"spec": {"workerGroupSpecs": [worker_group()]}})
    await workers(team, 1)

    async def healed():
        return await team.condition("ReplicaFailure") is None

    await eventually(healed)
