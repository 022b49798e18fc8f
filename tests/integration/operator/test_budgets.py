"""The GPU budget of a namespace, through the real operator on a real API server."""

from integration.operator.conftest import eventually, job
from integration.operator.test_jobs import MANY, driver_up, replicas_are

from devcluster.client import Resource

QUOTAS = Resource("", "v1", "resourcequotas")


async def test_a_quota_of_gpus_bounds_the_workers_of_a_job_which_says_what_holds_it_up(world):
    hard = {"hard": {"requests.nvidia.com/gpu": "2"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus"}, "spec": hard}
    await world.client.create(QUOTAS, world.namespace, quota)
    await world.apply(job(resources={"gpu": 1}))
    await driver_up(world)
    world.head.process(total=10 * MANY, per_worker=10)
    await replicas_are(world, 2)
    assert (await world.status())["workers"]["desired"] == 2

    async def at_risk():
        return await world.condition("WindowAtRisk") == ("True", "QuotaReached")

    await eventually(at_risk)
    more = {"spec": {"hard": {"requests.nvidia.com/gpu": "3"}}}
    await world.client.patch(QUOTAS, world.namespace, "gpus", more)
    await replicas_are(world, 3)
