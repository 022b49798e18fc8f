"""A Pod's status from what its containers do."""

import pytest
from pod_builders import asking, container, pod

from devcluster.kubelet.states import ContainerView, Running, Terminated, Waiting
from devcluster.kubelet.status import PodView, build, phase_of, qos_class

RUNS = Running(10.0, "devcluster://u/main/0")
ENDED_WELL = Terminated(0, 10.0, 20.0)
FAILED = Terminated(3, 10.0, 20.0)
CREATING = Waiting("ContainerCreating")
LOOPING = Waiting("CrashLoopBackOff")


def view(*states, init=(), stopping=False):
    views = tuple(
        ContainerView(f"c{n}", state=state, last=FAILED if state is LOOPING else None, ready=state is RUNS)
        for n, state in enumerate(states)
    )
    first = tuple(ContainerView(f"i{n}", state=state, started=state is RUNS) for n, state in enumerate(init))
    return PodView("10.77.1.1", 5.0, "10.77.1.2", first, views, stopping)


def pod_for(seen, policy="Always", init_policy=None):
    first = [container(one.name) | ({"restartPolicy": init_policy} if init_policy else {}) for one in seen.init]
    spec = {"restartPolicy": policy} | ({"initContainers": first} if first else {})
    return pod("p", *(container(one.name) for one in seen.containers), **spec)


PHASES = {
    "being made": (view(CREATING), "Always", "Pending"),
    "one runs, one is being made": (view(RUNS, CREATING), "Always", "Pending"),
    "runs": (view(RUNS), "Always", "Running"),
    "crash loop": (view(LOOPING), "Always", "Running"),
    "about to restart": (view(FAILED), "Always", "Running"),
    "done, but starts again": (view(ENDED_WELL), "Always", "Running"),
    "one done, one runs": (view(ENDED_WELL, RUNS), "Never", "Running"),
    "done": (view(ENDED_WELL), "OnFailure", "Succeeded"),
    "failed for good": (view(FAILED, ENDED_WELL), "Never", "Failed"),
    "failed, tried again": (view(FAILED), "OnFailure", "Running"),
    "waits for init": (view(CREATING, init=[RUNS]), "Always", "Pending"),
    "init failed, tried again": (view(CREATING, init=[FAILED]), "OnFailure", "Pending"),
    "init failed for good": (view(CREATING, init=[FAILED]), "Never", "Failed"),
    "init done": (view(RUNS, init=[ENDED_WELL]), "Always", "Running"),
    "stopped by deletion": (view(Terminated(143, 1, 2, signal=15), stopping=True), "Always", "Failed"),
    "stopped before it began": (view(CREATING, stopping=True), "Always", "Failed"),
    "stopped well": (view(ENDED_WELL, stopping=True), "Always", "Succeeded"),
}


@pytest.mark.parametrize(("seen", "policy", "phase"), PHASES.values(), ids=PHASES.keys())
def test_the_phase_of_a_pod_that_is(seen, policy, phase):
    assert phase_of(pod_for(seen, policy), seen) == phase


def test_a_started_sidecar_lets_the_others_begin():
    seen = view(RUNS, init=[RUNS])
    assert phase_of(pod_for(seen, init_policy="Always"), seen) == "Running"


def test_a_pod_has_ended_when_its_stopped_sidecars_have():
    seen = view(ENDED_WELL, init=[Terminated(137, 10.0, 20.0, signal=9)])
    assert phase_of(pod_for(seen, "Never", init_policy="Always"), seen) == "Succeeded"


def test_a_pod_has_not_ended_before_its_sidecars():
    seen = view(ENDED_WELL, init=[RUNS])
    assert phase_of(pod_for(seen, "Never", init_policy="Always"), seen) == "Running"


def conditions(status):
    return {one["type"]: (one["status"], one.get("reason", "")) for one in status["conditions"]}


def test_a_running_pod_is_ready_when_all_containers_are():
    seen = view(RUNS, RUNS)
    status = build(pod_for(seen), seen, 100.0)
    assert conditions(status)["Ready"] == conditions(status)["ContainersReady"] == ("True", "")
    assert (status["podIP"], status["hostIP"], status["startTime"]) == (
        "10.77.1.2",
        "10.77.1.1",
        "1970-01-01T00:00:05Z",
    )


def test_an_unready_container_is_named():
    seen = view(RUNS, LOOPING)
    status = build(pod_for(seen), seen, 100.0)
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [c1]")
    assert status["containerStatuses"][1]["lastState"]["terminated"]["exitCode"] == 3


def test_a_finished_pod_is_not_ready_because_it_is_done():
    seen = view(ENDED_WELL)
    assert conditions(build(pod_for(seen, "Never"), seen, 100.0))["Ready"] == ("False", "PodCompleted")


def test_a_condition_keeps_its_time_while_it_stays():
    seen = view(RUNS)
    one = pod_for(seen)
    first = build(one, seen, 100.0)
    assert build({**one, "status": first}, seen, 200.0) == first
    unready = PodView("10.77.1.1", 5.0, "10.77.1.2", (), (ContainerView("c0", state=RUNS),))
    later = build({**one, "status": first}, unready, 200.0)
    times = {one["type"]: one["lastTransitionTime"] for one in later["conditions"]}
    assert times["Ready"] == "1970-01-01T00:03:20Z"
    assert times["PodScheduled"] == "1970-01-01T00:01:40Z"


def test_conditions_of_others_stay():
    seen = view(RUNS)
    one = pod_for(seen)
    foreign = {"type": "example.com/Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    one["status"] = {"conditions": [foreign]}
    assert foreign in build(one, seen, 100.0)["conditions"]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (pod("p", asking(limits={"cpu": "1", "memory": "1Gi"})), "Guaranteed"),
        (pod("p", asking(limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "500m"})), "Burstable"),
        (pod("p", asking(requests={"cpu": "1"}), asking("other")), "Burstable"),
        (pod("p", asking()), "BestEffort"),
    ],
)
def test_the_quality_of_service(one, expected):
    assert qos_class(one) == expected
