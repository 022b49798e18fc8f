"""The operator with NetworkPolicies on, and under a Kueue queue, against the API server and KubeRay's stand-in.

`admit` stands for Kueue: it writes a RayCluster's `spec.suspend`, as Kueue alone does. No Kueue runs here.
"""

from integration.operator.conftest import JOBS, eventually, job

from devcluster.client import NETWORK_POLICIES, RAY_CLUSTERS

ON = {
    "TIDEMILL_NETWORK_POLICIES": "true",
    "TIDEMILL_OPERATOR_NAMESPACE": "tidemill",
    "TIDEMILL_OPERATOR_SELECTOR": "app.kubernetes.io/name=tidemill",
}


async def restarted(world, **environment):
    await world.operator.stop()
    await world.operator.start(**environment)


async def policies(world):
    return (await world.client.list(NETWORK_POLICIES, world.namespace))[0]


async def one_policy(world):
    async def there():
        return await policies(world)

    (policy,) = await eventually(there)
    return policy


async def the_cluster(world):
    (cluster,) = await eventually(world.clusters)
    return cluster


async def driver_up(world):
    async def there():
        return world.head.driver

    return await eventually(there)


async def test_a_clusters_policy_is_kept_as_it_should_be_and_goes_after_its_pods(world):
    await restarted(world, **ON)
    await world.apply(job())
    cluster = await the_cluster(world)
    first = await one_policy(world)
    assert first["metadata"]["name"] == cluster["metadata"]["name"]
    assert first["metadata"]["creationTimestamp"] <= cluster["metadata"]["creationTimestamp"]

    await world.client.delete(NETWORK_POLICIES, world.namespace, first["metadata"]["name"])

    async def made_again():
        found = await policies(world)
        return found and found[0]["metadata"]["uid"] != first["metadata"]["uid"]

    await eventually(made_again)
    opened = {"spec": {"ingress": [{}]}}
    await world.client.patch(NETWORK_POLICIES, world.namespace, first["metadata"]["name"], opened)

    async def mended():
        return (await one_policy(world))["spec"] == first["spec"]

    await eventually(mended)
    await world.client.patch(JOBS, world.namespace, "tickets", {"spec": {"suspend": True}})

    async def all_gone():
        return not await policies(world) and not await world.clusters()

    await eventually(all_gone)
    assert await world.condition("Suspended") == ("True", "SuspendRequested")


async def test_clusters_that_ran_without_a_policy_get_one_and_are_not_touched(world):
    await world.apply(job())
    await driver_up(world)
    before = await the_cluster(world)
    assert await policies(world) == []
    await restarted(world, TIDEMILL_IMAGE_CPU="workloads:2", TIDEMILL_BATCH_PRIORITY_CLASS="batch", **ON)
    await one_policy(world)
    after = await the_cluster(world)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]


async def admit(world, *, admitted):
    name = (await the_cluster(world))["metadata"]["name"]
    await world.client.patch(RAY_CLUSTERS, world.namespace, name, {"spec": {"suspend": not admitted}})


async def test_a_job_in_a_queue_waits_for_quota_runs_at_one_size_and_is_put_back(world):
    queued = job()
    queued["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "nights"}
    world.heads_start = False  # its pods are admitted below
    await world.apply(queued)
    cluster = await the_cluster(world)
    assert cluster["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nights"
    assert "suspend" not in cluster["spec"], "Kueue's to write"
    assert await world.replicas() == [4]
    await admit(world, admitted=False)
    await world.until_condition("Progressing", ("False", "AwaitingAdmission"))
    assert "waits for quota in Kueue's LocalQueue nights since" in await world.message("Progressing")

    world.heads_start = True
    await admit(world, admitted=True)
    await driver_up(world)
    world.head.process(total=1, completed=0)
    await world.until_condition("Progressing", ("True", "Processing"))
    assert await world.replicas() == [4], "one row would do with one worker"

    await admit(world, admitted=False)  # as when a job of a higher priority takes its quota
    await world.until_condition("Progressing", ("False", "AwaitingAdmission"))
    still = await the_cluster(world)
    assert still["spec"]["suspend"] is True, "nobody fights it"

    await world.client.patch(JOBS, world.namespace, "tickets", {"spec": {"suspend": True}})
    await world.until_condition("Suspended", ("True", "SuspendRequested"))
    assert await world.clusters() == []
