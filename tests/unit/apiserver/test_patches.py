"""Merge, JSON and strategic merge patches, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.apiserver import openapi_definitions
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.patches import apply_json_patch, apply_merge_patch
from devcluster.apiserver.strategic_merge import apply_strategic_merge_patch

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        # The table of RFC 7396, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_follows_the_rfc(target, patch, expected):
    assert apply_merge_patch(target, patch) == expected


@given(JSON_VALUES, JSON_VALUES)
def test_a_merge_patch_applied_twice_is_the_patch_applied_once(target, patch):
    once = apply_merge_patch(target, patch)
    assert apply_merge_patch(once, patch) == once


def test_a_json_patch_adds_removes_and_replaces():
    patch = [
        {"op": "add", "path": "/spec/a~1b", "value": 1},
        {"op": "remove", "path": "/spec/old"},
        {"op": "replace", "path": "/spec/list/0", "value": "z"},
        {"op": "add", "path": "/spec/list/-", "value": "end"},
    ]
    target = {"spec": {"old": 1, "list": ["a"]}}
    assert apply_json_patch(target, patch) == {"spec": {"a/b": 1, "list": ["z", "end"]}}
    assert target == {"spec": {"old": 1, "list": ["a"]}}


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/missing"}], 422),
        ([{"op": "replace", "path": "/x/y", "value": 1}], 422),
        ([{"op": "shout", "path": "/a"}], 400),
        ({"a": 1}, 400),
        ([{"op": "add", "path": "/a", "value": 1}] * 10_001, 400),
    ],
)
def test_a_json_patch_that_cannot_be_applied_is_refused(patch, code):
    with pytest.raises(StatusError) as refused:
        apply_json_patch({"a": 1}, patch)
    assert refused.value.code == code


def strategic(kind, target, patch):
    return apply_strategic_merge_patch(openapi_definitions.compiled(f"io.k8s.api.{kind}"), target, patch)


def pod(**spec):
    return {"spec": spec}


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        pytest.param(
            pod(containers=[{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]),
            pod(containers=[{"name": "b", "image": "2"}]),
            pod(containers=[{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]),
            id="containers are merged by name",
        ),
        pytest.param(
            pod(containers=[{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]),
            pod(containers=[{"name": "a", "env": [{"name": "X", "$patch": "delete"}, {"name": "Z", "value": "3"}]}]),
            pod(containers=[{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "Z", "value": "3"}]}]),
            id="an item is deleted by directive",
        ),
        pytest.param(
            pod(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]),
            pod(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "y"}, {"containerPort": 81}]}]),
            pod(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "y"}, {"containerPort": 81}]}]),
            id="ports are merged by containerPort",
        ),
        pytest.param(
            pod(containers=[{"name": "a", "volumeMounts": [{"mountPath": "/a", "name": "v"}]}]),
            pod(containers=[{"name": "a", "volumeMounts": [{"mountPath": "/a", "name": "w"}]}]),
            pod(containers=[{"name": "a", "volumeMounts": [{"mountPath": "/a", "name": "w"}]}]),
            id="mounts are merged by path",
        ),
        pytest.param(
            pod(tolerations=[{"key": "a"}]),
            pod(tolerations=[{"key": "b"}]),
            pod(tolerations=[{"key": "b"}]),
            id="tolerations are atomic",
        ),
        pytest.param(
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            pod(volumes=[{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]),
            pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
            id="retained keys drop the others",
        ),
        pytest.param(
            pod(containers=[{"name": "a"}, {"name": "b"}]),
            {
                "spec": {
                    "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "c"}],
                }
            },
            pod(containers=[{"name": "c"}, {"name": "b"}, {"name": "a"}]),
            id="the given order is kept",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}},
            {"metadata": {"finalizers": ["b", "c"]}},
            id="finalizers are a merged list of words",
        ),
        pytest.param(
            {"metadata": {"ownerReferences": [{"uid": "1", "name": "x"}]}},
            {"metadata": {"ownerReferences": [{"uid": "2", "name": "y"}]}},
            {"metadata": {"ownerReferences": [{"uid": "1", "name": "x"}, {"uid": "2", "name": "y"}]}},
            id="owners are merged by uid",
        ),
        pytest.param(
            {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "A", "status": "True"}]}},
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "A", "status": "True"}]}},
            id="conditions are merged by type",
        ),
        pytest.param(
            pod(nodeSelector={"a": "1", "b": "2"}),
            pod(nodeSelector={"$patch": "replace", "c": "3"}),
            pod(nodeSelector={"c": "3"}),
            id="an object is replaced by directive",
        ),
        pytest.param(
            pod(nodeSelector={"a": "1", "b": "2"}),
            pod(nodeSelector={"a": None}),
            pod(nodeSelector={"b": "2"}),
            id="null removes",
        ),
    ],
)
def test_a_strategic_merge_patch_of_a_pod(target, patch, expected):
    assert strategic("core.v1.Pod", target, patch) == expected


def test_service_ports_are_merged_by_port():
    target = {"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81}]}}
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    merged = strategic("core.v1.Service", target, patch)
    assert merged == {"spec": {"ports": [{"port": 80, "name": "a", "targetPort": 8080}, {"port": 81}]}}


def test_an_item_without_its_merge_key_is_refused():
    with pytest.raises(StatusError, match="merge key: name"):
        strategic("core.v1.Pod", pod(containers=[{"name": "a"}]), pod(containers=[{"image": "x"}]))
