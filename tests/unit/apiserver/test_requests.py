"""Paths, options, media types and metadata rules."""

import pytest

from devcluster.apiserver import object_meta
from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.deletes import parse_delete_options
from devcluster.apiserver.errors import Cause, StatusError, Subject, invalid
from devcluster.apiserver.negotiation import choose_transform, decode_body
from devcluster.apiserver.quantities import parse_quantity
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.requests import Target, parse_target, parse_write_options

REGISTRY = Registry(built_in_resources())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", ("pods", "", "", "")),
        ("/api/v1/namespaces/n/pods", ("pods", "n", "", "")),
        ("/api/v1/namespaces/n/pods/p", ("pods", "n", "p", "")),
        ("/api/v1/namespaces/n/pods/p/log", ("pods", "n", "p", "log")),
        ("/api/v1/namespaces", ("namespaces", "", "", "")),
        ("/api/v1/namespaces/n", ("namespaces", "", "n", "")),
        ("/api/v1/namespaces/n/finalize", ("namespaces", "", "n", "finalize")),
        ("/api/v1/nodes/a/status", ("nodes", "", "a", "status")),
        ("/apis/apps/v1/namespaces/n/deployments/d/scale", ("deployments", "n", "d", "scale")),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/x", ("clusterroles", "", "x", "")),
    ],
)
def test_a_path_names_its_target(path, expected):
    target = parse_target(REGISTRY, path)
    assert (target.resource.plural, target.namespace, target.name, target.subresource) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nonsense", "/apis/nope/v1/pods", "/api/v2/pods", "/api/v1/pods/p", "/api/v1/namespaces/n/nodes",
        "/api/v1/namespaces/n/pods/p/log/x",
    ],
)  # fmt: skip
def test_a_path_to_nothing_is_not_found(path):
    with pytest.raises(StatusError) as refused:
        parse_target(REGISTRY, path)
    assert refused.value.code == 404


def test_write_options_are_read_and_checked():
    options = parse_write_options({"dryRun": "All", "fieldValidation": "Strict", "force": "true"}, "kopf/1.0 (x)")
    assert (options.dry_run, options.field_validation, options.force) == (True, "Strict", True)
    assert options.field_manager == "kopf"
    for query in ({"dryRun": "Some"}, {"fieldValidation": "Maybe"}):
        with pytest.raises(StatusError):
            parse_write_options(query, "")


def test_delete_options_come_from_the_query_before_the_body():
    body = {"gracePeriodSeconds": 5, "propagationPolicy": "Orphan", "preconditions": {"uid": "u"}}
    options = parse_delete_options(body, {"gracePeriodSeconds": "0"})
    assert (options.grace_seconds, options.propagation, options.uid) == (0, "Orphan", "u")
    assert parse_delete_options({"orphanDependents": True}, {}).propagation == "Orphan"
    for wrong in ({"propagationPolicy": "Sideways"}, {"gracePeriodSeconds": "soon"}):
        with pytest.raises(StatusError):
            parse_delete_options(wrong, {})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", ""),
        ("*/*", ""),
        ("application/json", ""),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Table"),
        ("application/vnd.kubernetes.protobuf,application/json", ""),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "PartialObjectMetadata"),
    ],
)
def test_the_form_of_an_answer_is_negotiated(accept, expected):
    assert choose_transform(accept) == expected


def test_a_form_that_is_not_offered_is_refused():
    with pytest.raises(StatusError) as refused:
        choose_transform("application/vnd.kubernetes.protobuf")
    assert refused.value.code == 406


def test_yaml_and_json_bodies_are_read():
    assert decode_body(b"a: 2026-01-01\nb: [1]", "application/apply-patch+yaml") == {"a": "2026-01-01", "b": [1]}
    assert decode_body(b'{"a": 1}', "application/json; charset=utf-8") == {"a": 1}
    assert decode_body(b"", "application/json") is None
    for content, kind, code in (
        (b"{", "application/json", 400),
        (b"x", "text/html", 415),
        (b"a: [", "application/yaml", 400),
    ):
        with pytest.raises(StatusError) as refused:
            decode_body(content, kind)
        assert refused.value.code == code


def causes(plural, name, **meta):
    resource = REGISTRY.find("", "v1", plural)
    return object_meta.validate(Target(resource, "n"), {"metadata": {"name": name, **meta}}, None)


@pytest.mark.parametrize(
    ("plural", "name", "good"),
    [
        ("pods", "a.b-c", True),
        ("pods", "A", False),
        ("pods", "a" * 254, False),
        ("pods", "-a", False),
        ("services", "a-1", True),
        ("services", "1a", False),
        ("services", "a.b", False),
        ("namespaces", "1a", True),
        ("namespaces", "a" * 64, False),
    ],
)
def test_names_follow_their_kinds_rule(plural, name, good):
    assert (causes(plural, name) == []) is good


def test_labels_annotations_and_owners_are_checked():
    assert causes("pods", "p", labels={"a": "x" * 64})
    assert causes("pods", "p", annotations={"a": "x" * 300_000})
    assert causes("pods", "p", ownerReferences=[{"name": "x"}])
    controller = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": True}
    assert causes("pods", "p", ownerReferences=[controller]) == []
    assert causes("pods", "p", ownerReferences=[controller, {**controller, "uid": "v"}])


def test_nothing_may_hold_back_an_object_that_is_going_already():
    pods = Target(REGISTRY.find("", "v1", "pods"), "n", "p")
    old = {"metadata": {"name": "p", "deletionTimestamp": "now", "finalizers": ["a"]}}
    new = {"metadata": {"name": "p", "finalizers": ["a", "b"]}}
    assert [cause.field for cause in object_meta.validate(pods, new, old)] == ["metadata.finalizers"]
    assert object_meta.validate(pods, {"metadata": {"name": "p"}}, old) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("500m", 0.5),
        ("16Gi", 16 * 2**30),
        ("1k", 1000),
        ("1e3", 1000),
        (2, 2),
        ("1.5", 1.5),
        ("x", None),
        ("1 Gi", None),
    ],
)
def test_a_quantity_is_an_exact_number(text, value):
    assert parse_quantity(text) == value


def test_an_invalid_object_is_described_as_kubernetes_does():
    subject = Subject("tidemill.dev", "batchinferencejobs", "BatchInferenceJob", "x")
    one = invalid(subject, [Cause("FieldValueRequired", "spec.a", "Required value")])
    assert one.message == 'BatchInferenceJob.tidemill.dev "x" is invalid: spec.a: Required value'
    two = invalid(subject, [Cause("FieldValueRequired", f"spec.{name}", "Required value") for name in "ab"])
    assert two.message.endswith("is invalid: [spec.a: Required value, spec.b: Required value]")
    body = two.body()
    assert (body["kind"], body["code"], body["reason"], body["details"]["kind"]) == (
        "Status",
        422,
        "Invalid",
        "BatchInferenceJob",
    )
    assert body["details"]["causes"][0] == {
        "reason": "FieldValueRequired",
        "message": "Required value",
        "field": "spec.a",
    }
