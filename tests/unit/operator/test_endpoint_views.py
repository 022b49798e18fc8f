"""Endpoints and Services as the API server gives them, read; and what this operator allows."""

from datetime import UTC, datetime

import pytest
from unit.operator.endpoint_builders import MINIMAL, look, make_revision

from tidemill_api import labels
from tidemill_operator.core.endpoint.snapshot import ServiceView
from tidemill_operator.core.endpoint.spec_checks import endpoint_problems, secrets_of
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.endpoint_views import read_endpoint, read_revision_cluster, read_service, revision_label

POLICY = SpecPolicy()


def body(spec=None, *, name="chat", status=None):
    metadata = {"namespace": "team", "name": name, "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": metadata | {"generation": 3}, "spec": MINIMAL | (spec or {}), "status": status or {}}


def test_an_endpoint_is_read_with_its_spec_and_status():
    status = look(make_revision(), serving="r1").status
    view = read_endpoint(body(status=status.model_dump(mode="json", by_alias=True)), POLICY)
    assert (view.name, view.generation, view.deleting, view.spec_problem) == ("chat", 3, False, "")
    assert view.status == status


def test_a_spec_that_cannot_be_read_is_told_field_by_field():
    view = read_endpoint(body({"replicas": {"min": 3, "max": 2}, "image": "a b"}), POLICY)
    assert view.spec is None
    assert "replicas: replicas.min must not be above replicas.max" in view.spec_problem
    assert "image:" in view.spec_problem


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"model": {"name": "m", "source": "/models/m"}}, "model.source: /models/m lies under no mount"),
        (
            {"model": {"name": "m", "source": "org/m", "adapters": [{"name": "a", "source": "/models/a"}]}},
            "model.adapters[a].source: /models/a lies under no mount",
        ),
        ({"template": {"serviceAccountName": "admin"}}, "serviceAccountName: admin is not on the operator's list"),
        (
            {"template": {"volumes": [{"name": "tidemill-api-keys", "emptyDir": {}}]}},
            "the name tidemill-api-keys is the operator's own",
        ),
        (
            {
                "template": {
                    "volumes": [{"name": "a", "emptyDir": {}}],
                    "volumeMounts": [{"name": "a", "mountPath": "/etc/tidemill/api-keys"}],
                }
            },
            "lies where the API keys are mounted",
        ),
        ({"template": {"env": [{"name": "RAY_SERVE_X", "value": "1"}]}}, "RAY_SERVE_X is set by the operator"),
        ({"template": {"env": [{"name": "TIDEMILL_ENGINE", "value": "m:f"}]}}, "begins with TIDEMILL_"),
    ],
)
def test_a_spec_that_may_not_run_stays_readable_and_says_why(spec, problem):
    view = read_endpoint(body(spec), POLICY)
    assert view.spec is not None
    assert problem in view.spec_problem


def test_a_name_that_no_service_may_have_is_a_problem():
    assert "metadata.name" in read_endpoint(body(name="chat.v1"), POLICY).spec_problem


def test_every_secret_that_a_pod_needs_is_known():
    spec = {
        "auth": {"secretRef": {"name": "keys"}},
        "gcsFaultTolerance": {"redisAddress": "r:1", "passwordSecretRef": {"name": "redis", "key": "p"}},
        "template": {
            "volumes": [{"name": "c", "secret": {"secretName": "certificates"}}],
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "b"}}},
                {"name": "C", "value": "1"},
            ],
        },
    }
    read = read_endpoint(body(spec), POLICY).spec
    assert secrets_of(read) == ("keys", "redis", "certificates", "hub")
    assert endpoint_problems("chat", read, POLICY) == ()
    assert secrets_of(read_endpoint(body(), POLICY).spec) == ()


def service(uid="u", revision="r1"):
    owners = [{"uid": uid}] if uid else []
    return {"metadata": {"name": "chat", "ownerReferences": owners}, "spec": {"selector": {labels.REVISION: revision}}}


def test_our_service_says_which_revision_serves_and_another_is_foreign():
    assert read_service(service(), "u") == ServiceView("r1")
    assert read_service(service("somebody"), "u").foreign
    assert read_service(service(""), "u").foreign
    assert read_service(None, "u") is None
    assert revision_label({"metadata": {"labels": {labels.REVISION: "r1"}}}) == "r1"
    assert revision_label({"metadata": {}}) == ""


def cluster(*, head_ready=False):
    conditions = [{"type": "HeadPodReady", "status": str(head_ready), "lastTransitionTime": "2026-01-01T12:00:00Z"}]
    status = {"conditions": conditions, "head": {"podIP": "10.0.0.9"}}
    return {"metadata": {"name": "chat-r1", "uid": "c"}, "spec": {}, "status": status}


def head_pod(state, **metadata):
    sidecar = {"name": "a-mesh", "state": {"running": {"startedAt": "2026-01-01T12:00:01Z"}}}
    status = {"podIP": "10.0.0.1", "containerStatuses": [sidecar, {"name": "ray-head", "state": state}]}
    return {"metadata": {"name": "head", "labels": {"ray.io/node-type": "head"}, **metadata}, "status": status}


RUNNING = {"running": {"startedAt": "2026-01-01T12:00:05Z"}}


def test_a_head_counts_as_ready_while_its_container_runs_since_its_pod_waits_for_an_ingress():
    view = read_revision_cluster(cluster(), (head_pod(RUNNING),))
    assert (view.head_ready, view.head_ip) == (True, "10.0.0.1")
    assert view.head_ready_since == datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "pod",
    [
        head_pod({"waiting": {"reason": "ContainerCreating"}}),
        head_pod(RUNNING, deletionTimestamp="2026-01-01T12:01:00Z"),
        head_pod(RUNNING, labels={"ray.io/node-type": "worker"}),
    ],
)
def test_a_head_that_does_not_run_is_as_ready_as_kuberay_says(pod):
    assert not read_revision_cluster(cluster(), (pod,)).head_ready
    said = read_revision_cluster(cluster(head_ready=True), (pod,))
    assert (said.head_ready, said.head_ip) == (True, "10.0.0.9")
