"""Rollouts as they really go, step by step, on a cluster of values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_world import World, deployment, template

from devcluster.client import DEPLOYMENTS, PODS, REPLICA_SETS
from devcluster.workloads import deployments
from devcluster.workloads.pods import is_active, is_ready
from devcluster.workloads.revisions import HISTORY, REVISION
from devcluster.workloads.rolling import limits_of


def running(**spec):
    world = World()
    world.add(DEPLOYMENTS, deployment(**spec))
    world.run()
    return world


def status(world):
    return world.objects[DEPLOYMENTS]["web"]["status"]


def test_a_new_deployment_gets_its_pods_and_says_so():
    world = World()
    world.add(DEPLOYMENTS, deployment())
    world.round()
    assert world.condition("Progressing") == ("True", "NewReplicaSetCreated")
    world.settle()
    assert world.condition("Progressing") == ("True", "ReplicaSetUpdated")
    assert world.condition("Available") == ("False", "MinimumReplicasUnavailable")
    world.run()
    assert world.images() == ["one"] * 3
    told = {
        field: status(world)[field] for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    }
    assert set(told.values()) == {3}
    assert status(world)["observedGeneration"] == 1
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")
    assert world.condition("Available") == ("True", "MinimumReplicasAvailable")
    (replica_set,) = world.sets()
    assert replica_set["metadata"]["labels"]["pod-template-hash"] in replica_set["metadata"]["name"]


COUNTS = st.one_of(st.integers(0, 4), st.integers(0, 100).map("{}%".format))


@settings(max_examples=60)
@given(st.integers(0, 6), COUNTS, COUNTS, st.randoms(use_true_random=False))
def test_a_rollout_keeps_its_bounds_at_every_step_and_ends(replicas, surge, unavailable, random):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    world = running(replicas=replicas, strategy=strategy)
    limits = limits_of(world.objects[DEPLOYMENTS]["web"])
    world.edit(DEPLOYMENTS, "web", template=template("two"))
    for _ in range(200):
        busy = world.round()
        assert len(world.pods()) <= limits.most
        assert len(world.pods(lambda pod: is_active(pod) and is_ready(pod))) >= limits.least_available
        fresh = world.pods(lambda pod: is_active(pod) and not is_ready(pod))
        if fresh and random.random() < 0.5:
            world.tell(random.choice(fresh))
        elif not busy and not fresh:
            break
    world.run()
    assert world.images() == ["two"] * replicas


def test_a_recreation_begins_when_the_last_older_pod_is_gone():
    world = running(strategy={"type": "Recreate"})
    world.edit(DEPLOYMENTS, "web", template=template("two"))
    world.settle()
    assert world.pods() == []
    ending = world.all(PODS)
    assert len(ending) == 3
    for pod in ending[1:]:
        world.end(pod)
    world.settle()
    assert world.pods() == []
    world.end(ending[0])
    world.run()
    assert world.images() == ["two"] * 3


def test_a_rollback_takes_up_the_older_revision_again():
    world = running()
    world.edit(DEPLOYMENTS, "web", template=template("two"))
    world.run()
    world.edit(DEPLOYMENTS, "web", template=template("one"))
    world.run()
    assert world.images() == ["one"] * 3
    revisions = [one["metadata"]["annotations"] for one in world.sets()]
    assert [one[REVISION] for one in revisions] == ["3", "2"]
    assert revisions[0][HISTORY] == "1"
    assert world.objects[DEPLOYMENTS]["web"]["metadata"]["annotations"][REVISION] == "3"


def test_only_so_many_older_revisions_are_kept():
    world = running(revisionHistoryLimit=1)
    for mark in ("two", "three", "four"):
        world.edit(DEPLOYMENTS, "web", template=template(mark))
        world.run()
    assert [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in world.sets()] == ["three", "four"]


@pytest.mark.parametrize("replicas", [1, 5])
def test_scaling_makes_no_revision(replicas):
    world = running()
    world.edit(DEPLOYMENTS, "web", replicas=replicas)
    world.run()
    assert world.images() == ["one"] * replicas
    assert len(world.sets()) == 1
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_paused_deployment_is_scaled_and_not_rolled_out():
    world = running()
    world.edit(DEPLOYMENTS, "web", paused=True, template=template("two"))
    world.edit(DEPLOYMENTS, "web", replicas=4)
    world.run()
    assert world.images() == ["one"] * 4
    assert world.condition("Progressing") == ("Unknown", "DeploymentPaused")
    world.edit(DEPLOYMENTS, "web", paused=False)
    world.run()
    assert world.images() == ["two"] * 4


def test_a_rollout_that_does_not_move_is_late_and_goes_on_when_it_does():
    world = running(replicas=1, progressDeadlineSeconds=60)
    world.edit(DEPLOYMENTS, "web", template=template("two"))
    world.settle()
    assert world.condition("Progressing") == ("True", "ReplicaSetUpdated")
    world.now += 62
    world.settle()
    assert world.condition("Progressing") == ("False", "ProgressDeadlineExceeded")
    assert world.condition("Available") == ("True", "MinimumReplicasAvailable")
    world.run()
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_scaling_in_the_midst_of_a_rollout_is_shared():
    world = running(replicas=4)
    world.edit(DEPLOYMENTS, "web", template=template("two"))
    world.settle()
    world.edit(DEPLOYMENTS, "web", replicas=8)
    world.round()
    counts = [one["spec"]["replicas"] for one in world.sets()]
    assert sum(counts) == 10  # eight and the surge of a quarter
    assert min(counts) >= 2
    world.run()
    assert world.images() == ["two"] * 8


def test_a_pod_that_matches_is_adopted_and_one_that_no_longer_does_is_let_go():
    world = running(replicas=2)
    (replica_set,) = world.sets()
    stray = world.pods()[0]
    stray["metadata"]["labels"] = {"app": "other"}
    world.run()
    assert len([pod for pod in world.pods() if pod["metadata"].get("ownerReferences")]) == 2
    assert not stray["metadata"]["ownerReferences"]
    stray["metadata"]["labels"] = dict(replica_set["metadata"]["labels"])
    world.run()
    assert len(world.pods()) == 2


def test_a_pod_that_is_gone_is_replaced():
    world = running()
    for pod in world.pods()[:2]:
        world.end(pod)
    world.run()
    assert len(world.pods()) == 3


def test_the_pods_that_are_missed_least_go_first():
    world = running(replicas=3)
    kept, costly, unready = world.pods()
    costly["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "5"}
    world.tell(unready, ready=False)
    world.edit(DEPLOYMENTS, "web", replicas=1)
    world.settle()
    assert [pod["metadata"]["name"] for pod in world.pods()] == [costly["metadata"]["name"]]
    assert kept["metadata"].get("deletionTimestamp")


def test_a_pod_is_available_only_after_its_time():
    world = World()
    world.add(DEPLOYMENTS, deployment(replicas=1, minReadySeconds=30))
    world.run()
    assert status(world)["readyReplicas"] == 1
    assert "availableReplicas" not in status(world)
    world.now += 31
    world.settle()
    assert status(world)["availableReplicas"] == 1


def test_a_refused_pod_shows_in_the_conditions():
    world = World()
    world.add(DEPLOYMENTS, deployment(replicas=1))
    world.settle()
    (replica_set,) = world.objects[REPLICA_SETS].values()
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no",
               "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    replica_set["status"] = {"replicas": 0, "conditions": [failure]}
    for pod in world.pods():
        world.end(pod)
    world.do(DEPLOYMENTS, _plan(world))
    assert world.condition("ReplicaFailure") == ("True", "FailedCreate")
    world.run()
    assert world.condition("ReplicaFailure") is None


def _plan(world):
    (one,) = world.all(DEPLOYMENTS)
    return deployments.plan(one, world.all(REPLICA_SETS), world.all(PODS), world.now)
