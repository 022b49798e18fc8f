"""Jobs to their end, on a cluster of values."""

import pytest
from workload_world import World, job

from devcluster.client import JOBS, PODS
from devcluster.workloads.jobs import back_off, unsupported


def started(**spec):
    world = World()
    world.add(JOBS, job(**spec))
    world.settle()
    return world


def status(world):
    return world.objects[JOBS]["once"]["status"]


def finish(world, phase, count=1):
    for pod in world.pods()[:count]:
        world.tell(pod, phase)
    world.settle()


def end(world):
    return world.condition("Complete", "once", JOBS) or world.condition("Failed", "once", JOBS)


def test_a_job_runs_a_pod_and_is_complete_when_that_succeeds():
    world = started()
    (pod,) = world.pods()
    assert status(world)["active"] == 1
    assert pod["metadata"]["ownerReferences"][0]["controller"] is True
    finish(world, "Succeeded")
    assert end(world) == ("True", "CompletionsReached")
    assert status(world)["succeeded"] == 1
    assert status(world)["completionTime"]
    assert "active" not in status(world)


def test_so_many_pods_run_side_by_side_until_enough_have_succeeded():
    world = started(parallelism=2, completions=3)
    assert len(world.pods()) == 2
    finish(world, "Succeeded", 2)
    assert len(world.pods()) == 1
    assert end(world) is None
    finish(world, "Succeeded")
    assert end(world) == ("True", "CompletionsReached")


def test_a_failed_pod_is_replaced_after_a_while_and_too_many_fail_the_job():
    world = started(backoffLimit=1)
    finish(world, "Failed")
    assert (world.pods(), end(world)) == ([], None)
    world.now += back_off(1) + 1
    world.settle()
    assert len(world.pods()) == 1
    finish(world, "Failed")
    assert end(world) == ("True", "BackoffLimitExceeded")
    assert status(world)["failed"] == 2


def test_pods_wait_longer_after_each_failure():
    assert [back_off(count) for count in (1, 2, 3, 20)] == [10, 20, 40, 600]


def test_a_job_ends_at_its_deadline_once_its_pods_are_gone():
    world = started(activeDeadlineSeconds=60)
    world.tell(world.pods()[0])
    world.now += 61
    world.settle()
    assert end(world) is None
    assert world.condition("FailureTarget", "once", JOBS) == ("True", "DeadlineExceeded")
    (pod,) = world.all(PODS)
    world.end(pod)
    world.settle()
    assert end(world) == ("True", "DeadlineExceeded")


def test_a_suspended_job_has_no_pods_and_begins_when_resumed():
    world = started(suspend=True)
    assert world.pods() == []
    assert world.condition("Suspended", "once", JOBS) == ("True", "JobSuspended")
    assert "startTime" not in status(world)
    world.edit(JOBS, "once", suspend=False)
    world.settle()
    assert len(world.pods()) == 1
    assert world.condition("Suspended", "once", JOBS) == ("False", "JobResumed")


def test_a_finished_job_goes_after_its_time():
    world = started(ttlSecondsAfterFinished=30)
    finish(world, "Succeeded")
    world.settle()
    assert world.all(JOBS)
    world.now += 31
    world.settle()
    assert not world.all(JOBS)


def test_a_pod_that_vanished_is_replaced():
    world = started()
    world.end(world.pods()[0])
    world.settle()
    assert len(world.pods()) == 1


def test_containers_that_restart_too_often_fail_the_job():
    world = started(backoffLimit=2)
    spec = world.objects[JOBS]["once"]["spec"]["template"]["spec"]
    spec["restartPolicy"] = "OnFailure"
    pod = world.pods()[0]
    world.tell(pod)
    world.objects[PODS][pod["metadata"]["name"]]["status"]["containerStatuses"] = [{"restartCount": 2}]
    world.settle()
    assert world.condition("FailureTarget", "once", JOBS) == ("True", "BackoffLimitExceeded")


@pytest.mark.parametrize(
    ("field", "value"), [("completionMode", "Indexed"), ("podFailurePolicy", {}), ("managedBy", "kueue")]
)
def test_what_is_not_offered_is_named(field, value):
    assert unsupported(job(**{field: value})) == f"{field}: not offered by the dev cluster"
    assert unsupported(job()) == ""
