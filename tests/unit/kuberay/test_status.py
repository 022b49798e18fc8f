"""The status after a round: counts, sums, conditions and the head, as KubeRay writes them."""

import pytest
from unit.kuberay.builders import NOW, cluster, condition, head_pod, pod, worker_group

from devcluster.kuberay import constants as c
from devcluster.kuberay import services
from devcluster.kuberay.conditions import Observation
from devcluster.kuberay.status import IncompleteError, calculate, differs

LATER = "2026-01-02T03:05:00Z"


def observe(of, *pods, now=LATER, error="", failure=""):
    return Observation(of, tuple(pods), (services.head_service(of),), now, error, failure)


def status(of, *pods, **fields):
    return calculate(observe(of, *pods, **fields))


def conditions(found):
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in found["conditions"]}


def test_a_cluster_without_pods_is_being_provisioned():
    found = status(cluster())
    assert conditions(found) == {
        "HeadPodReady": ("False", "HeadPodNotFound"),
        "RayClusterProvisioned": ("False", "RayClusterPodsProvisioning"),
        "RayClusterSuspended": ("False", "RayClusterSuspended"),
        "RayClusterSuspending": ("False", "RayClusterSuspending"),
    }
    assert "state" not in found
    assert found["observedGeneration"] == 3
    assert found["lastUpdateTime"] == LATER


def test_a_cluster_whose_pods_all_run_is_ready():
    found = status(cluster(), head_pod(), pod("w0"))
    assert conditions(found)["RayClusterProvisioned"] == ("True", "AllPodRunningAndReadyFirstTime")
    assert conditions(found)["HeadPodReady"] == ("True", "HeadPodRunningAndReady")
    assert found["state"] == "ready"
    assert found["stateTransitionTimes"] == {"ready": LATER}
    assert found["head"] == {
        "podName": "demo-head-x1",
        "podIP": "10.77.0.5",
        "serviceName": "demo-head-svc",
        "serviceIP": "10.77.0.5",
    }


def test_the_head_is_ready_while_a_worker_is_pending():
    """A1: HeadPodReady does not wait for workers, RayClusterProvisioned does."""
    found = status(cluster(), head_pod(), pod("w0", phase="Pending"))
    assert conditions(found)["HeadPodReady"][0] == "True"
    assert conditions(found)["RayClusterProvisioned"][0] == "False"
    assert "state" not in found


def test_provisioned_latches():
    """A1: RayClusterProvisioned stays true once all pods were ready."""
    given = cluster(status={"conditions": [condition(c.PROVISIONED)]})
    found = status(given, head_pod(ready=False))
    assert conditions(found)["RayClusterProvisioned"][0] == "True"
    assert conditions(found)["HeadPodReady"][0] == "False"


def test_a_condition_keeps_its_time_until_its_status_changes():
    given = cluster(status={"conditions": [condition("HeadPodReady")]})
    (kept,) = [entry for entry in status(given, head_pod())["conditions"] if entry["type"] == "HeadPodReady"]
    assert kept["lastTransitionTime"] == NOW
    (moved,) = [entry for entry in status(given)["conditions"] if entry["type"] == "HeadPodReady"]
    assert moved["lastTransitionTime"] == LATER


def test_an_unready_head_says_which_container_and_why():
    head = head_pod()
    head["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready: [ray]"}
    ]
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    head["status"]["containerStatuses"] = [{"name": "ray", "state": {"waiting": waiting}}]
    (found,) = [entry for entry in status(cluster(), head)["conditions"] if entry["type"] == "HeadPodReady"]
    assert found["reason"] == "CrashLoopBackOff"
    assert found["message"] == "unready: [ray]; ray: back-off 10s"


def test_a_failed_creation_shows_until_a_round_succeeds():
    """A1, condition ReplicaFailure."""
    found = status(cluster(), error="no quota", failure="FailedCreateWorkerPod")
    assert conditions(found)["ReplicaFailure"] == ("True", "FailedCreateWorkerPod")
    given = cluster(status=found)
    assert "ReplicaFailure" in conditions(status(given, error="another fault"))
    assert "ReplicaFailure" not in conditions(status(given))


def test_counts_and_sums_over_groups():
    limits = {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "4"}
    template = {"spec": {"containers": [{"name": "ray", "resources": {"limits": limits}}]}}
    groups = [
        worker_group(replicas=2, minReplicas=1),
        worker_group("gpu", replicas=1, template=template),
        worker_group("off", replicas=3, suspend=True),
    ]
    found = status(cluster(groups=groups), head_pod(), pod("w0"), pod("w1", ready=False), pod("w2", phase="Pending"))
    assert found["readyWorkerReplicas"] == 1
    assert found["availableWorkerReplicas"] == 2
    assert found["desiredWorkerReplicas"] == 3
    assert found["minWorkerReplicas"] == 1
    assert found["maxWorkerReplicas"] == 8
    assert (found["desiredCPU"], found["desiredMemory"], found["desiredGPU"]) == ("7", "16Gi", "4")


def test_a_count_of_zero_is_left_out():
    given = cluster(groups=[], status={"desiredWorkerReplicas": 2, "readyWorkerReplicas": 2})
    found = status(given, head_pod())
    assert "readyWorkerReplicas" not in found
    assert "desiredWorkerReplicas" not in found
    assert found["state"] == "ready"


def test_a_group_without_an_upper_bound_has_the_largest_number():
    assert status(cluster(groups=[worker_group(maxReplicas=c.MAX_INT32)] * 2))["maxWorkerReplicas"] == c.MAX_INT32


def test_endpoints_are_the_ports_of_the_head_service():
    """A1, status.endpoints."""
    assert status(cluster())["endpoints"] == {
        "client": "10001",
        "dashboard": "8265",
        "gcs-server": "6379",
        "metrics": "8080",
        "serve": "8000",
    }


def test_suspension_runs_through_its_conditions():
    """A1, conditions RayClusterSuspending and RayClusterSuspended."""
    given = cluster(suspend=True, status=status(cluster(), head_pod(), pod("w0")))
    suspending = status(given, head_pod(), pod("w0"))
    assert conditions(suspending)["RayClusterSuspending"][0] == "True"
    given = cluster(suspend=True, status=suspending)
    assert status(given, head_pod())["conditions"] == suspending["conditions"]
    suspended = status(given)
    assert conditions(suspended)["RayClusterSuspending"][0] == "False"
    assert conditions(suspended)["RayClusterSuspended"][0] == "True"
    assert conditions(suspended)["RayClusterProvisioned"][0] == "False"
    assert suspended["state"] == "suspended"
    resumed = status(cluster(suspend=False, status=suspended))
    assert conditions(resumed)["RayClusterSuspended"][0] == "False"
    again = status(cluster(suspend=False, status=resumed), head_pod(), pod("w0"))
    assert conditions(again)["RayClusterProvisioned"][0] == "True"
    assert again["state"] == "ready"


def test_no_status_is_told_without_a_head_service():
    with pytest.raises(IncompleteError):
        calculate(Observation(cluster(), (), (), LATER))


def test_times_alone_are_not_written():
    found = status(cluster(), head_pod())
    again = status(cluster(status=found, metadata={"generation": 9}), head_pod(), now="2027-01-01T00:00:00Z")
    assert not differs(found, again)
    assert again["observedGeneration"] == 9
    assert differs(found, status(cluster(status=found)))
