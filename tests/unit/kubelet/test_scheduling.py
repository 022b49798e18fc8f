"""Which Pod goes where, and what is said of those that wait."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pod_builders import asking, container, node, pod

from devcluster.kubelet.quantities import parse, requests_of_pod
from devcluster.kubelet.scheduling import schedule

GPU = "nvidia.com/gpu"
GPU_NODE = {"more": {GPU: "1"}}
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def affinity(operator, values, key="zone"):
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"nodeAffinity": required}


PLACED = {
    "the only node is taken": (pod(), [node("a")], "a"),
    "of equals the first is taken": (pod(), [node("b"), node("a", cpu="1")], "a"),
    "a GPU is found": (pod("p", asking(limits={GPU: "1"})), [node("a"), node("b", **GPU_NODE)], "b"),
    "a MIG slice is a resource of its own": (
        pod("p", asking(limits={"nvidia.com/mig-1g.10gb": "2"})),
        [node("a", **GPU_NODE), node("b", more={"nvidia.com/mig-1g.10gb": "7"})],
        "b",
    ),
    "a selector is followed": (
        pod("p", nodeSelector={"zone": "x"}),
        [node("a"), node("b", labels={"zone": "x"})],
        "b",
    ),
    "a tolerated taint does not repel": (
        pod("p", tolerations=[{"key": "gpu", "operator": "Exists"}]),
        [node("a", taints=[TAINT])],
        "a",
    ),
    "a toleration of everything tolerates": (
        pod("p", tolerations=[{"operator": "Exists"}]),
        [node("a", taints=[TAINT])],
        "a",
    ),
    "a taint that only prefers does not repel": (
        pod(),
        [node("a", taints=[TAINT | {"effect": "PreferNoSchedule"}])],
        "a",
    ),
    "affinity In": (
        pod("p", affinity=affinity("In", ["x", "y"])),
        [node("a"), node("b", labels={"zone": "y"})],
        "b",
    ),
    "affinity NotIn takes a node without the label": (
        pod("p", affinity=affinity("NotIn", ["x"])),
        [node("a", labels={"zone": "x"}), node("b")],
        "b",
    ),
    "affinity Gt": (
        pod("p", affinity=affinity("Gt", ["3"])),
        [node("a", labels={"zone": "3"}), node("b", labels={"zone": "4"})],
        "b",
    ),
}


@pytest.mark.parametrize(("one", "nodes", "expected"), PLACED.values(), ids=PLACED.keys())
def test_a_pod_is_placed(one, nodes, expected):
    assert schedule([one], nodes).placements == {("team", one["metadata"]["name"]): expected}


WAITING = {
    "no nodes": (pod(), [], "no nodes available to schedule pods"),
    "GPUs are missing": (
        pod("p", asking(limits={GPU: "1"})),
        [node("a"), node("b")],
        "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
    ),
    "reasons are counted and sorted": (
        pod("p", asking(limits={GPU: "1", "cpu": "5"})),
        [node("a"), node("b", **GPU_NODE), node("c", cpu="8")],
        "0/3 nodes are available: 2 Insufficient cpu, 2 Insufficient nvidia.com/gpu.",
    ),
    "memory": (
        pod("p", asking(requests={"memory": "9Gi"})),
        [node("a")],
        "0/1 nodes are available: 1 Insufficient memory.",
    ),
    "too many pods": (pod(), [node("a", pods="0")], "0/1 nodes are available: 1 Too many pods."),
    "taints": (
        pod(),
        [node("a", taints=[TAINT])],
        "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.",
    ),
    "a toleration of another value": (
        pod("p", tolerations=[{"key": "gpu", "value": "no"}]),
        [node("a", taints=[TAINT])],
        "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.",
    ),
    "selectors": (
        pod("p", nodeSelector={"zone": "x"}),
        [node("a"), node("b", unschedulable=True)],
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable.",
    ),
    "not ready": (pod(), [node("a", ready=False)], "0/1 nodes are available: 1 node(s) were not ready."),
    "constraints it does not know": (
        pod("p", affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}),
        [node("a")],
        "0/1 nodes are available: 1 node(s) cannot honour podAntiAffinity, "
        "which the dev cluster's scheduler does not know.",
    ),
}


@pytest.mark.parametrize(("one", "nodes", "expected"), WAITING.values(), ids=WAITING.keys())
def test_a_pod_waits_and_is_told_why(one, nodes, expected):
    result = schedule([one], nodes)
    assert result.placements == {}
    assert list(result.reasons.values()) == [expected]


def test_pods_of_one_round_do_not_share_the_last_gpu():
    pods = [pod(name, asking(limits={GPU: "1"}), created=f"2026-01-01T00:00:0{n}Z") for n, name in enumerate("xy")]
    result = schedule(pods, [node("a", **GPU_NODE)])
    assert result.placements == {("team", "x"): "a"}
    assert result.reasons == {("team", "y"): "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}


def test_a_higher_priority_goes_first_although_it_came_later():
    early = pod("early", asking(limits={GPU: "1"}), created="2026-01-01T00:00:00Z")
    urgent = pod("urgent", asking(limits={GPU: "1"}), created="2026-01-02T00:00:00Z", priority=10)
    assert schedule([early, urgent], [node("a", **GPU_NODE)]).placements == {("team", "urgent"): "a"}


def test_load_is_spread():
    pods = [pod(name, asking(requests={"cpu": "1"})) for name in "wxyz"]
    placed = schedule(pods, [node("a"), node("b")]).placements
    assert sorted(placed.values()) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("holder", "free"),
    [
        (pod("old", asking(limits={GPU: "1"}), nodeName="a", status={"phase": "Running"}), False),
        (pod("old", asking(limits={GPU: "1"}), nodeName="a", status={"phase": "Failed"}), True),
        (pod("old", asking(limits={GPU: "1"}), nodeName="a", status={"phase": "Succeeded"}), True),
        (pod("old", asking(limits={GPU: "1"}), nodeName="a", deletionTimestamp="2026-01-01T00:00:00Z"), False),
    ],
    ids=["running", "failed", "succeeded", "still ending"],
)
def test_a_node_is_held_until_its_pod_has_ended(holder, free):
    waiting = pod("new", asking(limits={GPU: "1"}))
    assert bool(schedule([holder, waiting], [node("a", **GPU_NODE)]).placements) is free


@pytest.mark.parametrize(
    "one",
    [
        pod("p", nodeName="a"),
        pod("p", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("p", schedulerName="another"),
        pod("p", schedulingGates=[{"name": "kueue"}]),
    ],
    ids=["bound", "being deleted", "another scheduler's", "gated"],
)
def test_what_is_not_ours_to_place_is_left_alone(one):
    result = schedule([one], [node("a")])
    assert (result.placements, result.reasons) == ({}, {})


def test_requests_are_the_larger_of_init_and_main_containers():
    one = pod(
        "p",
        asking("x", requests={"cpu": "1", "memory": "1Gi"}),
        asking("y", requests={"cpu": "500m"}),
        initContainers=[
            asking("side", requests={"cpu": "100m"}) | {"restartPolicy": "Always"},
            asking("first", requests={"cpu": "3"}),
            asking("second", limits={"memory": "2Gi"}),
        ],
        overhead={"cpu": "10m"},
    )
    assert requests_of_pod(one) == {"cpu": parse("3110m"), "memory": parse("2Gi"), "pods": Decimal(1)}


@given(
    st.lists(st.integers(1, 4), max_size=12),
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
)
def test_no_node_is_ever_promised_more_than_it_has(asked, offered):
    pods = [pod(f"p{n}", asking(limits={GPU: str(gpus)})) for n, gpus in enumerate(asked)]
    nodes = [node(f"n{n}", more={GPU: str(gpus)}) for n, gpus in enumerate(offered)]
    result = schedule(pods, nodes)
    for number, gpus in enumerate(offered):
        placed = [asked[int(name[1:])] for (_, name), where in result.placements.items() if where == f"n{number}"]
        assert sum(placed) <= gpus
    assert len(result.placements) + len(result.reasons) == len(pods)
    used = {f"n{n}": 0 for n in range(len(offered))}
    for (_, name), where in result.placements.items():
        used[where] += asked[int(name[1:])]
    free = [gpus - used[f"n{n}"] for n, gpus in enumerate(offered)]
    assert all(asked[int(name[1:])] > max(free) for _, name in result.reasons)


def test_a_container_without_resources_asks_for_nothing_but_a_place():
    assert requests_of_pod(pod("p", container())) == {"pods": Decimal(1)}
