"""Others write in the same namespace: children made before ours, labels taken off, statuses and finalizers by hand.

Nothing of somebody else's is taken over, no token is handed to them, and a job that was meddled with still ends.
"""

import asyncio
import base64
import json

import pytest
from integration.operator.conftest import JOBS, eventually, job

from devcluster.client import PODS, RAY_CLUSTERS, SECRETS, AlreadyExists, ApiError
from tidemill_api import labels
from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs, RowCounts
from tidemill_operator.manifests.names import cluster_name, secret_name

OURS = {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.JOB_NAME: "tickets"}
HEAD_GROUP = {"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "ray-head", "image": "theirs"}]}}}


async def applied_unseen(world):
    """A job while no operator runs, so that others may be first; the name of its RayCluster."""
    await world.operator.stop()
    uid = (await world.apply(job()))["metadata"]["uid"]
    return cluster_name("tickets", uid)


async def driver_up(world):
    async def there():
        return world.head.driver

    return await eventually(there)


async def test_a_secret_of_the_tokens_name_is_not_adopted_and_its_token_never_used(world):
    name = await applied_unseen(world)
    theirs = {"metadata": {"name": secret_name(name), "labels": OURS}, "stringData": {"auth_token": "known-to-others"}}
    await world.client.create(SECRETS, world.namespace, {"apiVersion": "v1", "kind": "Secret"} | theirs)
    await world.operator.start()
    await world.until_condition("Progressing", ("False", "ClusterRejected"))
    assert f"A Secret named {secret_name(name)} stands in the namespace" in await world.message("Progressing")
    assert await world.clusters() == []
    assert world.head.token is None
    await world.client.delete(SECRETS, world.namespace, secret_name(name))
    await driver_up(world)
    token = base64.b64decode((await world.secrets())[0]["data"]["auth_token"]).decode()
    assert token != "known-to-others"
    assert world.head.token == f"Bearer {token}"


async def test_a_cluster_with_our_name_and_labels_is_not_adopted_nor_asked_for_anything(world):
    name = await applied_unseen(world)
    theirs = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": name, "labels": OURS}}
    made = await world.client.create(RAY_CLUSTERS, world.namespace, theirs | {"spec": {"headGroupSpec": HEAD_GROUP}})
    status = {"head": {"podIP": world.head.ip}, "conditions": [HEAD_READY]}
    await world.client.patch(RAY_CLUSTERS, world.namespace, name, {"status": status}, subresource="status")
    await world.operator.start()
    await world.until_condition("Progressing", ("False", "ClusterRejected"))
    assert f"A RayCluster named {name} stands in the namespace" in await world.message("Progressing")
    assert (world.head.token, world.head.posts) == (None, 0)
    (standing,) = await world.clusters()
    assert standing["metadata"]["uid"] == made["metadata"]["uid"]
    assert standing["spec"] == made["spec"]
    await world.client.delete(RAY_CLUSTERS, world.namespace, name)
    await driver_up(world)


HEAD_READY = {
    "type": "HeadPodReady",
    "status": "True",
    "reason": "HeadPodRunningAndReady",
    "message": "",
    "lastTransitionTime": "2026-01-01T12:00:00Z",
}


async def test_a_status_that_names_a_metadata_service_as_the_head_is_not_followed(world, operator_log):
    await world.apply(job())
    await driver_up(world)
    world.head.process(total=10)
    await world.until_condition("Progressing", ("True", "Processing"))
    (cluster,) = await world.clusters()
    name = cluster["metadata"]["name"]
    for address in ("169.254.169.254", "metadata.google.internal", "10.0.0.1:80/x?"):
        for _ in range(10):  # KubeRay puts it right each time
            status = {"status": {"head": {"podIP": address}}}
            await world.client.patch(RAY_CLUSTERS, world.namespace, name, status, subresource="status")
            await asyncio.sleep(0.05)
    await world.until_condition("Progressing", ("True", "Processing"))
    await ends_well(world)
    assert "Traceback" not in operator_log()
    assert len(world.head.submissions) == 1


async def test_labels_taken_off_a_cluster_are_put_back_and_the_job_goes_on(world, operator_log):
    await world.apply(job())
    await driver_up(world)
    world.head.process(total=10)
    await world.until_condition("Progressing", ("True", "Processing"))
    (cluster,) = await world.clusters()
    bare = {"metadata": {"labels": dict.fromkeys(cluster["metadata"]["labels"])}}
    await world.client.patch(RAY_CLUSTERS, world.namespace, cluster["metadata"]["name"], bare)

    async def labelled_again():
        (now,) = await world.clusters()
        return now["metadata"].get("labels") == cluster["metadata"]["labels"]

    await eventually(labelled_again)
    (now,) = await world.clusters()
    assert now["metadata"]["uid"] == cluster["metadata"]["uid"]
    await ends_well(world)
    assert "Traceback" not in operator_log()


async def test_a_pod_that_claims_to_be_of_our_cluster_is_no_worker_whose_loss_matters(world, operator_log):
    """Who may make pods in the namespace may label them as they like: they are counted, and nothing breaks."""
    await world.apply(job())
    await driver_up(world)
    (cluster,) = await world.clusters()
    for number, forged in enumerate(({}, {"ray.io/node-type": "head"}, {"ray.io/node-type": "worker"})):
        marks = OURS | {"ray.io/cluster": cluster["metadata"]["name"]} | forged
        metadata = {"name": f"forged-{number}", "labels": {"ray.io/node-type": "nothing"} | marks}
        spec = {"containers": [{"name": "x", "image": "x"}]}
        await world.client.create(
            PODS, world.namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        )
    world.head.process(total=10)
    await world.until_condition("Progressing", ("True", "Processing"))
    await ends_well(world)
    assert "Traceback" not in operator_log()


async def test_a_status_written_by_hand_is_put_right(world, operator_log):
    """By somebody with the right to: everything that the schema takes is read, and the next look says what is so."""
    await world.apply(job())
    await driver_up(world)
    world.head.process(total=10)
    await world.until_condition("Progressing", ("True", "Processing"))
    forged = {
        "rows": {"total": 2**53 - 1, "completed": 2**53 - 1},
        "workers": {"desired": 1000, "ready": 1000},
        "clusterName": "theirs",
        "conditions": [],
    }
    await world.client.patch(JOBS, world.namespace, "tickets", {"status": forged}, subresource="status")
    await world.until_condition("Progressing", ("True", "Processing"))

    async def right():
        status = await world.status()
        return status["rows"]["total"] == 10 and status["clusterName"] != "theirs" and len(status["conditions"]) == 6

    await eventually(right)
    await ends_well(world)
    assert "Traceback" not in operator_log()


@pytest.mark.parametrize("broken", [{"rows": {"total": -1}}, {"conditions": [{"type": "x"}]}, {"driver": "none"}])
async def test_a_status_that_no_operator_could_read_is_refused_by_the_api_server(world, broken):
    await world.apply(job())
    with pytest.raises(ApiError, match="status"):
        await world.client.patch(JOBS, world.namespace, "tickets", {"status": broken}, subresource="status")


async def test_the_same_manifest_again_changes_nothing(world):
    first = await world.apply(job())
    await driver_up(world)
    world.head.process(total=10)
    await world.until_condition("Progressing", ("True", "Processing"))
    with pytest.raises(AlreadyExists):
        await world.apply(job())
    again = await world.client.patch(JOBS, world.namespace, "tickets", {"spec": job()["spec"]})
    assert again["metadata"]["generation"] == first["metadata"]["generation"]
    await ends_well(world)
    assert world.head.posts == 1


async def test_a_finalizer_of_somebody_else_holds_the_object_and_nothing_of_ours(world, operator_log):
    await world.apply(job())
    await driver_up(world)
    held = {"metadata": {"finalizers": ["example.com/held"]}}
    await world.client.patch(JOBS, world.namespace, "tickets", held)
    await world.client.delete(JOBS, world.namespace, "tickets")

    async def children_gone():
        return not await world.clusters() and not await world.secrets()

    await eventually(children_gone)
    assert "deletionTimestamp" in (await world.job())["metadata"]
    await world.client.patch(JOBS, world.namespace, "tickets", {"metadata": {"finalizers": []}})
    assert "Traceback" not in operator_log()


async def ends_well(world):
    uris = OutputURIs(results="/data/out/results.jsonl", errors="/data/out/errors.jsonl")
    rows = RowCounts(total=10, completed=10, failed=0)
    world.head.finish(Outcome(reason=Reason.ALL_ROWS_ANSWERED, message="10 rows.", rows=rows, output=uris))
    await world.until_condition("Finished", ("True", "AllRowsAnswered"))
    assert json.dumps(await world.status()).count("AllRowsAnswered") >= 1
