"""Whole jobs through the real operator on a real API server."""

import asyncio
import signal
from contextlib import suppress

from integration.operator.conftest import JOBS, eventually, job

from devcluster.client import CUSTOM_RESOURCE_DEFINITIONS, RAY_CLUSTERS, NotFound, Resource
from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs, RowCounts, TokenCounts
from tidemill_operator.manifests.names import cluster_name

SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")


def answered(total, reason=Reason.ALL_ROWS_ANSWERED):
    return Outcome(
        reason=reason,
        message=f"{total} rows answered.",
        rows=RowCounts(total=total, completed=total),
        tokens=TokenCounts(prompt=total * 7, completion=total * 3),
        output=OutputURIs(results="/data/out/results.jsonl", errors="/data/out/errors.jsonl"),
    )


async def driver_up(world):
    async def there():
        return world.head.driver

    return await eventually(there)


async def replicas_are(world, count):
    async def equal():
        return await world.replicas() == [count]

    await eventually(equal)


async def all_addresses(world, count):
    """The workers' addresses once so many have one; until then nothing."""
    found = [pod.get("status", {}).get("podIP") for pod in await world.worker_pods()]
    return found if len(found) == count and all(found) else []


MANY = 100_000
"""Rows that take all workers, as nobody knows yet how fast they are."""


async def test_a_job_goes_from_apply_to_results_and_its_cluster_goes(world):
    await world.apply(job())
    driver = await driver_up(world)
    assert driver.config.workers_max == 4
    assert await world.replicas() == [0]

    world.head.validate(lines=10)
    await world.until_condition("Progressing", ("True", "Validating"))
    assert await world.replicas() == [0]
    assert await world.condition("Validated") == ("Unknown", "AwaitingValidation")

    world.head.process(total=MANY, per_worker=10)
    await replicas_are(world, 4)
    await world.until_condition("Progressing", ("True", "Processing"))
    assert await world.condition("Validated") == ("True", "AllLinesValid")

    busy = (await eventually(lambda: all_addresses(world, 4)))[:1]
    world.head.process(total=MANY, completed=MANY - 5, per_worker=10, in_flight={busy[0]: 5})
    await replicas_are(world, 1)

    async def one_left():
        return [pod["status"]["podIP"] for pod in await world.worker_pods()] == busy

    await eventually(one_left)

    async def rows_are_told():
        return (await world.status())["rows"] == {"total": MANY, "completed": MANY - 5, "failed": 0, "remaining": 5}

    await eventually(rows_are_told)

    world.head.finish(answered(MANY))
    await world.until_condition("Finished", ("True", "AllRowsAnswered"))
    status = await world.status()
    assert status["rows"] == {"total": MANY, "completed": MANY, "failed": 0, "remaining": 0}
    assert status["tokens"] == {"prompt": 7 * MANY, "completion": 3 * MANY}
    assert status["output"]["resultsURI"] == "/data/out/results.jsonl"

    async def nothing_left():
        return not await world.clusters() and not await world.secrets()

    await eventually(nothing_left)
    for reason in ("ClusterCreated", "DriverSubmitted", "Scaled", "AllLinesValid", "AllRowsAnswered"):
        assert (await world.event(reason))["type"] == "Normal"


async def test_kopf_writes_nothing_on_our_objects(world):
    await world.apply(job())
    await driver_up(world)
    world.head.process(total=5)
    await replicas_are(world, 1)
    for written in [await world.job(), *await world.clusters(), *await world.worker_pods()]:
        assert "finalizers" not in written["metadata"]
        assert not [key for key in written["metadata"].get("annotations", {}) if "kopf" in key]
    assert {e["source"]["component"] for e in (await world.events()).values()} == {"tidemill-operator"}


async def test_deleting_a_running_job_takes_its_cluster_and_secret_along(world):
    await world.apply(job())
    await driver_up(world)
    await world.client.delete(JOBS, world.namespace, "tickets")

    async def nothing_left():
        return not await world.clusters() and not await world.secrets()

    await eventually(nothing_left)


async def test_the_operator_killed_in_the_middle_goes_on_where_it_was(world):
    await world.apply(job())
    await driver_up(world)
    await world.operator.stop(by=signal.SIGKILL)
    world.head.process(total=25, completed=5)
    await world.operator.start()
    await replicas_are(world, 1)
    await world.operator.stop(by=signal.SIGKILL)
    world.head.finish(answered(25))
    await world.operator.start()
    await world.until_condition("Finished", ("True", "AllRowsAnswered"))
    assert world.head.posts == 1


async def test_sigterm_stops_the_operator_with_exit_code_zero(world, operator_log):
    await world.apply(job())
    await driver_up(world)
    before = asyncio.get_running_loop().time()
    for _ in range(3):  # impatient people
        world.operator.send(signal.SIGTERM)
        await asyncio.sleep(0.05)
    assert await world.operator.stop() == 0
    assert asyncio.get_running_loop().time() - before < 4
    assert '"ERROR"' not in operator_log()


async def test_a_missing_input_is_awaited_without_workers_and_heals_by_itself(world):
    await world.apply(job())
    await driver_up(world)
    missing = Outcome(reason=Reason.INPUT_NOT_FOUND, message="There is no /data/in.jsonl.")
    world.head.finish(missing, "FAILED")
    await world.until_condition("Progressing", ("False", "InputNotFound"))
    assert "There is no /data/in.jsonl. Tried again at 20" in await world.message("Progressing")
    assert await world.condition("Finished") == ("False", "Running")
    await driver_up(world)  # the next attempt, after the back-off
    assert await world.replicas() == [0]
    assert await world.condition("Progressing") == ("False", "InputNotFound")
    world.head.process(total=5)
    await world.until_condition("Progressing", ("True", "Processing"))
    world.head.finish(answered(5))
    await world.until_condition("Succeeded", ("True", "AllRowsAnswered"))
    assert world.head.max_alive == 1


async def test_a_driver_that_dies_without_a_row_waits_after_the_fifth_time(world):
    await world.apply(job())
    for _ in range(5):
        await driver_up(world)
        world.head.die("ImportError: no module named nothing")
    await world.until_condition("Progressing", ("False", "DriverFailing"))
    assert "ImportError: no module named nothing" in await world.message("Progressing")
    assert len(world.head.submissions) == 5
    await driver_up(world)
    world.head.process(total=5)
    await replicas_are(world, 1)
    assert await world.condition("Progressing") == ("False", "DriverFailing")
    world.head.process(total=5, completed=1)
    await world.until_condition("Progressing", ("True", "Processing"))
    assert world.head.max_alive == 1


async def test_a_head_that_restarts_gets_the_next_attempt(world):
    await world.apply(job())
    await driver_up(world)
    world.head.process(total=25, completed=3)
    await replicas_are(world, 1)
    world.head.forget()
    driver = await driver_up(world)
    assert driver.config.attempt == 2
    assert (await world.event("DriverDied"))["type"] == "Warning"


async def test_ray_that_takes_no_job_yet_is_asked_again(world):
    world.head.refuse_posts = 3
    await world.apply(job())
    await driver_up(world)
    assert world.head.posts == 4
    assert "RayUnreachable" not in await world.events()


async def test_a_driver_that_ray_refuses_for_good_is_said_at_once_and_asked_for_again(world):
    world.head.refuse_posts, world.head.refuse_code = 1, 400
    await world.apply(job())
    await world.until_condition("Progressing", ("Unknown", "RayUnreachable"))
    message = await world.message("Progressing")
    assert "does not take the driver" in message
    assert "HTTP 400" in message
    assert "Tried again at 20" in message
    await driver_up(world)
    assert (await world.event("RayUnreachable"))["count"] == 1
    assert world.head.posts == 2
    world.head.process(total=5)
    await world.until_condition("Progressing", ("True", "Processing"))


async def test_a_spec_that_cannot_run_is_one_condition_and_one_event(world):
    given = job()
    given["spec"]["template"]["volumes"] = [{"name": "data", "hostPath": {"path": "/srv"}}]
    given["spec"]["template"]["serviceAccountName"] = "admin"
    await world.apply(given)
    await world.until_condition("Succeeded", ("False", "InvalidSpec"))
    message = await world.message("Succeeded")
    assert "data is a hostPath" in message
    assert "admin is not on the operator's list" in message
    assert await world.condition("Finished") == ("True", "InvalidSpec")
    assert await world.clusters() == []
    events = await eventually(world.events)
    assert list(events) == ["InvalidSpec"]
    assert events["InvalidSpec"]["count"] == 1

    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "admin"}}
    await world.client.create(SERVICE_ACCOUNTS, world.namespace, account)
    await world.operator.stop()
    await world.operator.start(TIDEMILL_ALLOW_HOST_PATH="true", TIDEMILL_ALLOWED_SERVICE_ACCOUNTS="admin,other")
    await driver_up(world)
    assert await world.condition("Finished") == ("False", "Running")


async def test_a_finished_job_is_deleted_when_its_time_to_live_is_over(world):
    await world.apply(job(ttlSecondsAfterFinished=1))
    await driver_up(world)
    world.head.finish(answered(1))

    async def gone():
        return not (await world.client.list(JOBS, world.namespace))[0]

    await eventually(gone)


async def test_validation_that_fails_ends_the_job_before_any_worker(world):
    await world.apply(job(workers={"min": 2, "max": 4}))
    await driver_up(world)
    world.head.validate(lines=3)
    bad = Outcome(
        reason=Reason.VALIDATION_FAILED,
        message="1 of 3 lines is wrong; see /data/out/validation.jsonl.",
        invalid_lines=1,
        output=OutputURIs(validation="/data/out/validation.jsonl"),
    )
    world.head.finish(bad, "FAILED")
    await world.until_condition("Succeeded", ("False", "ValidationFailed"))
    assert await world.condition("Validated") == ("False", "ValidationFailed")
    assert (await world.status())["output"]["validationURI"] == "/data/out/validation.jsonl"
    assert "Scaled" not in await world.events()


async def test_a_cluster_that_is_refused_is_said_and_heals_when_the_way_is_free(world):
    await world.operator.stop()
    uid = (await world.apply(job()))["metadata"]["uid"]
    name = cluster_name("tickets", uid)
    foreign = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "ray"}]}}}},
    }
    await world.client.create(RAY_CLUSTERS, world.namespace, foreign)
    await world.operator.start()
    await world.until_condition("Progressing", ("False", "ClusterRejected"))
    assert f"A RayCluster named {name} stands in the namespace" in await world.message("Progressing")
    assert (await world.event("ClusterRejected"))["type"] == "Warning"
    await world.client.delete(RAY_CLUSTERS, world.namespace, name)
    await driver_up(world)


async def test_a_missing_kuberay_is_said_and_heals_when_it_is_installed(world):
    definition = await world.client.get(CUSTOM_RESOURCE_DEFINITIONS, None, "rayclusters.ray.io")
    await world.client.delete(CUSTOM_RESOURCE_DEFINITIONS, None, "rayclusters.ray.io")
    try:
        await world.apply(job())
        await world.until_condition("Progressing", ("False", "KubeRayMissing"))
        assert "Install KubeRay" in await world.message("Progressing")
    finally:
        fresh = {**definition, "metadata": {"name": "rayclusters.ray.io"}}
        fresh.pop("status", None)
        await eventually(lambda: created(world, fresh))
    await driver_up(world)


async def created(world, definition):
    with suppress(NotFound):
        await world.client.get(CUSTOM_RESOURCE_DEFINITIONS, None, definition["metadata"]["name"])
        return False
    await world.client.create(CUSTOM_RESOURCE_DEFINITIONS, None, definition)
    return True


async def test_a_cluster_deleted_by_hand_is_made_again_and_the_job_goes_on(world):
    await world.apply(job())
    await driver_up(world)
    world.head.process(total=25, completed=5)
    await world.until_condition("Progressing", ("True", "Processing"))
    old = (await world.clusters())[0]["metadata"]
    await world.client.delete(RAY_CLUSTERS, world.namespace, old["name"])
    world.head.forget()

    async def another_cluster():
        return [c for c in await world.clusters() if c["metadata"]["uid"] != old["uid"]]

    await eventually(another_cluster)
    driver = await driver_up(world)
    assert driver.config.attempt > 1
    assert (await world.status())["rows"]["completed"] == 5
