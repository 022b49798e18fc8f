"""Objects of the API server, read into values."""

import pytest
from unit.operator.builders import MINIMAL, T0

from tidemill_operator.cache import Key, WatchCache, Watched, key_of
from tidemill_operator.core.snapshot import SourceView, WorkerPod
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.views import (
    count_pods,
    is_held,
    read_circle,
    read_cluster,
    read_job,
    read_source,
    read_workers,
)


def cluster(conditions=(), **group):
    status = {"head": {"podIP": "10.0.0.1"}, "conditions": list(conditions)}
    return {
        "metadata": {"namespace": "team", "name": "c", "uid": "u", "ownerReferences": [OWNER]},
        "spec": {"workerGroupSpecs": [{"groupName": "engines", "replicas": 2, "maxReplicas": 4, **group}]},
        "status": status,
    }


OWNER = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "BatchInferenceJob", "name": "tickets", "uid": "u"}
HEAD_READY = {"type": "HeadPodReady", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}


def pod(name, node_type="worker", *, ready=True, ip="10.0.1.1", phase="Running", conditions=(), **status):
    said = [{"type": "Ready", "status": str(ready)}, *conditions]
    return {
        "metadata": {
            "namespace": "team",
            "name": name,
            "uid": name,
            "labels": {"ray.io/node-type": node_type, "ray.io/cluster": "c"},
        },
        "status": {"phase": phase, "podIP": ip, "conditions": said, **status},
    }


def test_a_head_counts_only_once_kuberay_says_it_is_ready():
    assert read_cluster(cluster(), ()).head_ip == ""
    ready = read_cluster(cluster([HEAD_READY]), ())
    assert (ready.head_ready, ready.head_ip, ready.head_ready_since) == (True, "10.0.0.1", T0)


@pytest.mark.parametrize(
    ("finalizers", "held"),
    [
        ((), False),
        (("foregroundDeletion",), False),
        (("orphan",), False),
        (("example.com/x", "orphan"), False),
        (("example.com/x",), True),
        (("example.com/x", "foregroundDeletion"), True),
    ],
)
def test_an_object_is_held_by_finalizers_that_are_not_the_garbage_collectors(finalizers, held):
    assert is_held({"metadata": {"deletionTimestamp": "2026-01-01T12:00:00Z", "finalizers": list(finalizers)}}) is held
    assert not is_held({"metadata": {"finalizers": list(finalizers)}})


def test_the_worker_group_is_read_by_its_name():
    view = read_cluster(cluster(scaleStrategy={"workersToDelete": ["a"]}), ())
    assert (view.replicas, view.max_replicas, view.workers_to_delete) == (2, 4, ("a",))


def test_a_pod_that_no_node_can_take_says_why():
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient nvidia.com/gpu"}
    view = read_cluster(cluster(), (pod("w", ready=False, phase="Pending", conditions=[unschedulable]),))
    assert view.worker_problem == "0/3 nodes: Insufficient nvidia.com/gpu"
    assert view.head_problem == ""


def test_an_image_that_cannot_be_pulled_says_why():
    waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
    view = read_cluster(cluster(), (pod("h", "head", ready=False, containerStatuses=waiting),))
    assert view.head_problem == "ImagePullBackOff: no such image"


@pytest.mark.parametrize(
    ("waiting", "problem"),
    [
        ({"reason": "ContainerCreating"}, ""),
        ({"reason": "PodInitializing"}, ""),
        ({"reason": "ContainerCreating", "message": "no folder /data"}, "ContainerCreating: no folder /data"),
        ({"reason": "CreateContainerConfigError"}, "CreateContainerConfigError"),
    ],
)
def test_a_container_that_waits_its_turn_is_no_problem_unless_it_says_what_holds_it_up(waiting, problem):
    containers = [{"state": {"waiting": waiting}}]
    assert (
        read_cluster(cluster(), (pod("h", "head", ready=False, containerStatuses=containers),)).head_problem == problem
    )


def test_a_crash_loop_says_how_the_container_ended():
    backing_off = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}
    ended = {"exitCode": 128, "reason": "StartError", "message": "no such file: ray\n"}
    containers = [{"state": backing_off, "lastState": {"terminated": ended}}]
    view = read_cluster(cluster(), (pod("h", "head", ready=False, containerStatuses=containers),))
    expected = "CrashLoopBackOff: back-off 20s; it ended with exit code 128 (StartError): no such file: ray"
    assert view.head_problem == expected


def test_a_crashing_init_container_is_said_before_what_waits_for_it():
    backing_off = {"waiting": {"reason": "CrashLoopBackOff"}}
    ended = {"exitCode": 1, "reason": "Error", "message": "x" * 5000}
    first = [{"state": backing_off, "lastState": {"terminated": ended}}]
    waiting = [{"state": {"waiting": {"reason": "PodInitializing"}}}]
    crashing = pod("w", ready=False, initContainerStatuses=first, containerStatuses=waiting)
    problem = read_cluster(cluster(), (crashing,)).worker_problem
    assert problem.startswith("CrashLoopBackOff; it ended with exit code 1: xxx")
    assert len(problem) < 600


@pytest.mark.parametrize(
    ("pods", "refusal", "no_room"),
    [
        ([], "", False),
        (["0/2 nodes are available: 2 Insufficient cpu."], "", True),
        (['0/2 nodes are available: persistentvolumeclaim "models" not found.'], "", False),
        ([], 'pods "w" is forbidden: exceeded quota: team', True),
        ([], "admission webhook denied the request", False),
    ],
)
def test_a_cluster_without_room_is_told_from_pods_that_cannot_start(pods, refusal, no_room):
    unscheduled = [{"type": "PodScheduled", "status": "False", "message": message} for message in pods]
    failure = {"type": "ReplicaFailure", "status": "True", "message": refusal}
    waiting = tuple(pod("w", ready=False, conditions=[condition]) for condition in unscheduled)
    assert read_cluster(cluster([failure] if refusal else []), waiting).no_room is no_room


def test_pods_that_kuberay_may_not_create_are_said_too():
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    view = read_cluster(cluster([refused]), ())
    assert (view.head_problem, view.worker_problem) == ("exceeded quota", "exceeded quota")


@pytest.mark.parametrize(
    ("status", "reason", "refused"),
    [
        ("True", "FailedCreateWorkerPod", True),
        ("False", "FailedCreateWorkerPod", False),
        ("True", "FailedDeleteWorkerPod", False),
        ("True", "FailedCreateHeadPod", False),
    ],
)
def test_only_worker_pods_that_may_not_be_created_count_as_such(status, reason, refused):
    failure = {"type": "ReplicaFailure", "status": status, "reason": reason, "message": "exceeded quota"}
    assert read_cluster(cluster([failure]), ()).creation_refused is refused


def test_workers_are_read_without_the_head_and_without_ended_pods():
    leaving = pod("c")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    pods = (pod("h", "head"), pod("a"), pod("b", phase="Failed"), leaving)
    assert read_workers(pods) == (WorkerPod("a", "10.0.1.1", True, False), WorkerPod("c", "10.0.1.1", True, True))


def test_a_change_wakes_the_job_that_owns_the_object():
    cache, key = WatchCache(), Key("team", "tickets")
    worker = pod("w")
    assert cache.owners(Watched.PODS, worker) == ()  # its cluster is not known yet
    cache.put(Watched.CLUSTERS, cluster())
    assert tuple(cache.owners(Watched.PODS, worker)) == (key,)
    assert tuple(cache.owners(Watched.CLUSTERS, cluster())) == (key,)


def test_somebody_elses_cluster_wakes_nobody():
    foreign = cluster()
    foreign["metadata"]["ownerReferences"] = [{**OWNER, "apiVersion": "other/v1"}]
    assert tuple(WatchCache().owners(Watched.CLUSTERS, foreign)) == ()


def test_the_same_version_again_is_no_news():
    cache, body = WatchCache(), pod("w")
    body["metadata"]["resourceVersion"] = "5"
    assert (cache.put(Watched.PODS, body), cache.put(Watched.PODS, dict(body))) == (True, False)


def test_pods_are_found_by_their_cluster_until_they_are_dropped():
    cache = WatchCache()
    for name in ("b", "a"):
        cache.put(Watched.PODS, pod(name))
    assert [p["metadata"]["name"] for p in cache.pods("team", "c")] == ["a", "b"]
    cache.drop(Watched.PODS, Key("team", "a"))
    cache.drop(Watched.PODS, Key("team", "b"))
    assert cache.pods("team", "c") == ()


EXPIRED = {"type": "Finished", "status": "True", "reason": "Expired"}
RESULTS = {"resultsURI": "/data/before/results.jsonl"}


@pytest.mark.parametrize(
    ("status", "finished", "unwritten"),
    [
        ({}, False, ""),
        ({"conditions": [{"type": "Finished", "status": "False"}]}, False, ""),
        ({"conditions": [{"type": "Succeeded", "status": "True"}, EXPIRED], "output": RESULTS}, True, ""),
        ({"conditions": [EXPIRED], "output": {"resultsURI": "", "validationURI": "/v"}}, True, "Expired"),
        ({"conditions": [EXPIRED]}, True, "Expired"),
    ],
)
def test_a_source_is_read_whatever_else_is_wrong_with_it(status, finished, unwritten):
    body = {"spec": {"output": {"uri": "/data/before/"}, "workers": {"max": -1}}, "status": status}
    assert read_source(body) == SourceView(finished, "/data/before/", unwritten)
    assert read_source({}) == SourceView(finished=False, output_uri="")


def test_a_job_that_names_itself_is_refused_by_the_operator_too():
    metadata = {"namespace": "team", "name": "tickets", "uid": "u", "creationTimestamp": T0.isoformat()}
    job = read_job({"metadata": metadata, "spec": {**MINIMAL, "resubmitOf": "tickets"}}, SpecPolicy())
    assert (job.spec, job.spec_problem) == (None, "resubmitOf must name another job than this one.")


@pytest.mark.parametrize(
    ("sources", "statuses", "circle"),
    [
        ("b", {}, ""),
        ("ba", {}, "aba"),
        ("bca", {}, "abca"),
        ("bcb", {}, ""),  # a circle further on, which is told to its own members
        ("ba", {"b": {"completionTime": "2026-01-01T12:00:00Z"}}, ""),
        ("ba", {"b": {"driver": {"resubmitOfURI": "/data/a/"}}}, ""),  # it has taken over from an earlier a
        ("ba", {"b": {"completionTime": None, "driver": {"resubmitOfURI": ""}}}, "aba"),
    ],
)
def test_jobs_that_wait_for_each_other_are_found(sources, statuses, circle):
    cache = WatchCache()
    for name, source in zip("abc", sources, strict=False):
        metadata = {"namespace": "team", "name": name, "uid": name}
        body = {"metadata": metadata, "spec": {"resubmitOf": source}, "status": statuses.get(name)}
        cache.put(Watched.JOBS, body)
    own = cache.job(Key("team", "a"))
    assert "".join(read_circle(own, lambda body: cache.source_of(key_of(body)))) == circle


def test_pods_that_have_not_ended_are_counted_the_head_among_them():
    assert count_pods((pod("h", "head"), pod("a"), pod("b", phase="Failed"))) == 2


def test_a_head_that_is_away_says_since_when():
    away = {**HEAD_READY, "status": "False"}
    assert read_cluster(cluster([away]), ()).head_away_since == T0
    assert read_cluster(cluster([HEAD_READY]), ()).head_away_since is None
