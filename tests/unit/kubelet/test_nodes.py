"""Declaring nodes."""

import pytest

from devcluster.kubelet.nodes import (
    NodeSpecError,
    node_object,
    node_status,
    parse_node_flag,
    parse_nodes_file,
    undeclared,
)


def test_a_flag_names_capacity_labels_and_taints():
    spec = parse_node_flag("name=a,cpu=2,memory=8Gi,gpu=4,amd.com/gpu=1,label.zone=x,taint=gpu=yes:NoSchedule")
    assert spec.name == "a"
    assert spec.capacity == {"cpu": "2", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "4", "amd.com/gpu": "1"}
    assert spec.labels == {"zone": "x"}
    assert spec.taints == ({"key": "gpu", "value": "yes", "effect": "NoSchedule"},)


def test_no_gpu_declares_no_resource():
    assert "nvidia.com/gpu" not in parse_node_flag("name=a,gpu=0").capacity


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cpu=2", "exactly one name="),
        ("name=a,name=b", "exactly one name="),
        ("name=A_b", "node name 'A_b'"),
        ("name=a,cpus=2", "unknown resource 'cpus'"),
        ("name=a,memory=8GiB", "memory=8GiB: not a quantity"),
        ("name=a,taint=gpu", "taint 'gpu'"),
    ],
)
def test_a_wrong_flag_says_what_is_expected(text, told):
    with pytest.raises(NodeSpecError, match=told):
        parse_node_flag(text)


def test_a_file_says_the_same_as_flags():
    text = "- {name: a, capacity: {cpu: 2, gpu: 1}, labels: {zone: x}, taints: ['gpu:NoExecute']}"
    assert parse_nodes_file(text) == [parse_node_flag("name=a,cpu=2,gpu=1,label.zone=x,taint=gpu:NoExecute")]


@pytest.mark.parametrize("text", ["name: a", "- cpu: 1", "just words"])
def test_a_file_of_another_shape_is_refused(text):
    with pytest.raises(NodeSpecError, match="list of mappings"):
        parse_nodes_file(text)


def test_a_node_is_ready_and_offers_all_it_declares():
    spec = parse_node_flag("name=a,cpu=64,gpu=8")
    status = node_status(spec, "10.77.1.1", "2026-01-01T00:00:10Z", "2026-01-01T00:00:00Z")
    assert status["allocatable"] == spec.capacity
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["lastTransitionTime"]) == ("True", "2026-01-01T00:00:00Z")


def test_only_nodes_of_ours_are_taken_back():
    ours, kept = (node_object(parse_node_flag(f"name={name}")) for name in ("gone", "kept"))
    foreign = {"metadata": {"name": "foreign"}}
    assert undeclared([ours, kept, foreign], ["kept"]) == ["gone"]
