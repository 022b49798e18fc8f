"""Field ownership and server-side apply: merges, conflicts, removals; sets of fields survive being written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.apiserver import openapi_definitions
from devcluster.apiserver.errors import StatusError, Subject
from devcluster.apiserver.field_sets import decode_fields, encode_fields, field_set, path_text
from devcluster.apiserver.managed_fields import APPLY, UPDATE, Writer, read, track_update
from devcluster.apiserver.objects import clone
from devcluster.apiserver.schema import Compiler
from devcluster.apiserver.server_side_apply import Applied, apply, created

POD = openapi_definitions.compiled("io.k8s.api.core.v1.Pod")
CONFIG_MAP = openapi_definitions.compiled("io.k8s.api.core.v1.ConfigMap")


def writer(name, operation=APPLY, subresource=""):
    return Writer(name, operation, "v1", subresource)


def applied(config, name="me", force=False):
    return Applied(config, writer(name), Subject("", "configmaps", "ConfigMap", "x"), force)


def config_map(labels=None, **data):
    meta = {"name": "x", **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **({"data": data} if data else {})}


def owned(document):
    return {owner.writer.manager: {path_text(path) for path in owner.fields} for owner in read(document)}


def pod(*containers, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": list(containers), **spec},
    }


def test_the_fields_of_a_pod_are_named_by_what_identifies_them():
    document = pod(
        {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "command": ["a"]}, nodeSelector={"a": "b"}
    )
    document["metadata"]["finalizers"] = ["f"]
    assert {path_text(path) for path in field_set(POD, document)} == {
        '.metadata.finalizers[="f"]',
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].name',
        '.spec.containers[name="c"].image',
        '.spec.containers[name="c"].command',
        '.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"]',
        '.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort',
        ".spec.nodeSelector",
    }


PATHS = st.frozensets(
    st.lists(st.sampled_from(["f:a", "f:b", 'k:{"n":"x"}', 'v:"y"']), min_size=1, max_size=4).map(tuple)
)


@given(PATHS)
def test_a_set_of_fields_is_read_back_as_it_was_written(fields):
    assert decode_fields(encode_fields(fields)) == fields


def test_a_new_object_belongs_to_its_applier():
    document = created(CONFIG_MAP, applied(config_map({"l": "1"}, a="1")))
    assert owned(document) == {"me": {".data.a", ".metadata.labels.l"}}


def test_applying_the_same_again_changes_nothing():
    config = config_map({"l": "1"}, a="1")
    document = created(CONFIG_MAP, applied(config))
    assert apply(CONFIG_MAP, document, applied(config)) == document


def test_a_field_no_longer_applied_is_removed():
    live = created(CONFIG_MAP, applied(config_map({"l": "1"}, a="1", b="2")))
    document = apply(CONFIG_MAP, live, applied(config_map(a="1")))
    assert document["data"] == {"a": "1"}
    assert "labels" not in document["metadata"]
    assert owned(document) == {"me": {".data.a"}}


def test_a_field_that_another_manager_applies_too_stays():
    live = created(CONFIG_MAP, applied(config_map(a="1", b="2")))
    shared = apply(CONFIG_MAP, live, applied(config_map(b="2"), "other"))
    document = apply(CONFIG_MAP, shared, applied(config_map(a="1")))
    assert document["data"] == {"a": "1", "b": "2"}
    assert owned(document) == {"me": {".data.a"}, "other": {".data.b"}}


def test_another_value_for_a_field_of_another_is_a_conflict():
    live = created(CONFIG_MAP, applied(config_map(a="1", b="2")))
    with pytest.raises(StatusError) as refused:
        apply(CONFIG_MAP, live, applied(config_map(a="9", b="8", c="7"), "other"))
    error = refused.value
    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message == 'Apply failed with 2 conflicts: conflicts with "me":\n- .data.a\n- .data.b'
    assert error.details["causes"][0] == {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "me"',
        "field": ".data.a",
    }


def test_force_takes_the_field_over():
    live = created(CONFIG_MAP, applied(config_map(a="1", b="2")))
    document = apply(CONFIG_MAP, live, applied(config_map(a="9"), "other", force=True))
    assert document["data"] == {"a": "9", "b": "2"}
    assert owned(document) == {"me": {".data.b"}, "other": {".data.a"}}


def test_an_update_takes_what_it_changes_and_is_named_in_conflicts():
    live = created(CONFIG_MAP, applied(config_map(a="1", b="2")))
    edited = clone(live)
    edited["data"]["a"] = "edited"
    track_update(CONFIG_MAP, writer("kubectl-edit", UPDATE), live, edited)
    assert owned(edited) == {"me": {".data.b"}, "kubectl-edit": {".data.a"}}
    with pytest.raises(StatusError, match=r'conflict with "kubectl-edit" using v1 at .*: \.data\.a'):
        apply(CONFIG_MAP, edited, applied(config_map(a="1", b="2")))


def test_an_update_that_changes_nothing_owns_nothing():
    live = created(CONFIG_MAP, applied(config_map(a="1")))
    same = clone(live)
    track_update(CONFIG_MAP, writer("idle", UPDATE), live, same)
    assert same == live


def test_an_update_without_managed_fields_keeps_the_owners():
    live = created(CONFIG_MAP, applied(config_map(a="1", b="2")))
    replaced = config_map(a="1", b="9")
    track_update(CONFIG_MAP, writer("put", UPDATE), live, replaced)
    assert owned(replaced) == {"me": {".data.a"}, "put": {".data.b"}}


def test_a_removed_field_has_no_owner():
    live = created(CONFIG_MAP, applied(config_map(a="1", b="2")))
    less = clone(live)
    del less["data"]["b"]
    track_update(CONFIG_MAP, writer("rm", UPDATE), live, less)
    assert owned(less) == {"me": {".data.a"}}


def test_status_and_spec_of_one_manager_are_two_entries():
    live = created(POD, Applied(pod({"name": "c", "image": "i"}), writer("me"), Subject()))
    reported = clone(live)
    reported["status"] = {"phase": "Running"}
    track_update(POD, writer("kubelet", UPDATE, "status"), live, reported)
    entries = reported["metadata"]["managedFields"]
    assert [(entry["manager"], entry.get("subresource")) for entry in entries] == [("me", None), ("kubelet", "status")]


def test_two_appliers_own_their_own_containers():
    first = created(POD, Applied(pod({"name": "a", "image": "1"}), writer("me"), Subject()))
    both = apply(POD, first, Applied(pod({"name": "b", "image": "2"}), writer("other"), Subject()))
    assert [container["name"] for container in both["spec"]["containers"]] == ["a", "b"]
    left = apply(
        POD, both, Applied({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}, writer("me"), Subject())
    )
    assert [container["name"] for container in left["spec"]["containers"]] == ["b"]


def test_sets_and_undescribed_objects_of_custom_resources_are_merged():
    node = Compiler().compile(
        {
            "type": "object",
            "properties": {
                "words": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "list": {"type": "array", "items": {"type": "string"}},
            },
        }
    )
    live = created(node, applied({"metadata": {"name": "x"}, "words": ["a"], "free": {"a": {"x": 1}}, "list": ["a"]}))
    other = {"metadata": {"name": "x"}, "words": ["b"], "free": {"a": {"y": 2}}}
    document = apply(node, live, applied(other, "other"))
    assert (document["words"], document["free"], document["list"]) == (["a", "b"], {"a": {"x": 1, "y": 2}}, ["a"])
    without = apply(node, document, applied({"metadata": {"name": "x"}}, "other"))
    assert (without["words"], without["free"]) == (["a"], {"a": {"x": 1}})
    with pytest.raises(StatusError, match="Apply failed with 1 conflict"):
        apply(node, document, applied({"metadata": {"name": "x"}, "list": ["a", "b"]}, "other"))
