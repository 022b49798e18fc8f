"""Who leaves when an endpoint shrinks, and how Serve's target follows the nodes."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.builders import T0, make_workers

from tidemill_operator.core.endpoint.victims import UNKNOWN_LOAD, EngineSample, group_for, pod_loads, serve_target
from tidemill_operator.core.scaling import Group, Scale
from tidemill_operator.core.snapshot import WorkerPod


def sample(ip, *, requests=0, ago=0.0):
    return EngineSample(ip, T0 - timedelta(seconds=ago), waiting=0, running=requests)


def test_the_newest_fresh_sample_of_a_running_engine_counts():
    pods = make_workers(4)
    running = [pod.ip for pod in pods[:3]]
    samples = [sample("10.0.1.1", requests=9, ago=2), sample("10.0.1.1", requests=4), sample("10.0.1.2", ago=60)]
    loads = pod_loads(pods, running, samples, oldest=T0 - timedelta(seconds=5))
    assert loads == {"w1": 4, "w2": UNKNOWN_LOAD, "w3": UNKNOWN_LOAD, "w4": 0}


def test_starting_pods_go_first_then_empty_ones_then_by_requests():
    pods = make_workers(5)
    loads = {"w1": 3, "w2": 0, "w3": 7, "w4": UNKNOWN_LOAD, "w5": 0}
    order = [group_for(wanted, Group(5, pods, 5), loads, starting=["w5"]).victims for wanted in (4, 3, 2, 1)]
    assert order == [("w5",), ("w5", "w2"), ("w5", "w2", "w1"), ("w5", "w2", "w1", "w3")]


def test_a_pod_that_is_missing_is_never_paid_for_by_a_pod_that_works():
    """Created and not seen yet: were `replicas` lowered by it, KubeRay would choose a pod by itself."""
    assert group_for(2, Group(4, make_workers(2), 5), {"w1": 5, "w2": 5}) == Scale(4)


def test_pods_that_cannot_be_created_are_taken_off_at_once():
    assert group_for(2, Group(4, make_workers(2), 5, complete=True), {"w1": 5, "w2": 5}) == Scale(2)


def test_with_none_wanted_nobody_is_spared():
    assert group_for(0, Group(4, make_workers(2), 5), {"w1": 5}) == Scale(0, ("w1", "w2"))


PODS = st.lists(st.booleans(), max_size=12).map(
    lambda leaving: tuple(WorkerPod(f"w{i}", f"ip{i}", True, gone) for i, gone in enumerate(leaving))
)


@given(PODS, st.integers(0, 12), st.integers(0, 12), st.data())
def test_no_more_leave_than_have_to_and_none_twice(pods, wanted, replicas, data):
    loads = {pod.name: data.draw(st.integers(0, 5)) for pod in pods}
    alive = {pod.name for pod in pods if not pod.deleting}
    scale = group_for(wanted, Group(replicas, pods, 12), loads)
    assert set(scale.victims) <= alive
    assert len(alive) - len(scale.victims) == min(len(alive), wanted)
    assert scale.replicas >= wanted
    spared = alive - set(scale.victims)
    assert all(loads[gone] <= loads[kept] for gone in scale.victims for kept in spared)


@pytest.mark.parametrize(
    ("wanted", "target", "staying", "becomes"),
    [
        (3, 1, 1, 3),  # up at once: replicas wait for their nodes
        (1, 3, 3, 3),  # the pods are told to go, their nodes do not drain yet: Serve would choose by itself
        (1, 3, 2, 2),  # one of them drains
        (1, 3, 1, 1),
        (1, 4, 1, 1),  # replicas that never found a node
        (2, 4, 0, 2),
        (0, 4, 4, 0),  # nobody is to be spared
        (3, 3, 1, 3),
    ],
)
def test_on_the_way_down_the_target_of_serve_follows_the_nodes(wanted, target, staying, becomes):
    assert serve_target(wanted, target, staying) == becomes


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20))
def test_serve_is_never_told_to_stop_a_replica_of_its_own_choice(wanted, target, staying):
    told = serve_target(wanted, target, staying)
    assert told >= wanted
    assert told >= min(staying, target)
    assert told <= max(wanted, target)
