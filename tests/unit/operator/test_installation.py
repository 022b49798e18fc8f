"""What the check says of an installation."""

import copy
from datetime import UTC, datetime, timedelta

import pytest

from tidemill_api.definitions import RESOURCES, crd
from tidemill_operator.config import Settings
from tidemill_operator.core.installation import Seen, differences, judge_definition, judge_kuberay, knows
from tidemill_operator.rights import Where, rights

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
ESTABLISHED = {"conditions": [{"type": "Established", "status": "True"}]}


def installed(resource=RESOURCES[0], **status):
    return {**copy.deepcopy(crd(resource)), "status": status or ESTABLISHED}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_a_definition_of_this_version_is_well(resource):
    standing = installed(resource)
    standing["spec"]["conversion"] = {"strategy": "None"}  # what an API server adds
    assert judge_definition(crd(resource), standing).well


def another_version(standing):
    spec = standing["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["workers"]["description"] = "of long ago"


def unserved(standing):
    standing["spec"]["versions"][0]["served"] = False


def not_established(standing):
    standing["status"] = {}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (another_version, "differs at openAPIV3Schema.properties.spec.properties.workers.description"),
        (unserved, "does not serve v1alpha1"),
        (not_established, "not established"),
    ],
)
def test_a_definition_that_is_not_well_is_said_with_what_to_do(fault, said):
    standing = installed()
    fault(standing)
    finding = judge_definition(crd(RESOURCES[0]), standing)
    assert not finding.well
    assert said in finding.text
    assert str(finding).startswith("WRONG  CRD batchinferencejobs.tidemill.dev: ")


def test_a_definition_that_is_missing_is_said_with_what_to_do():
    assert "not installed; helm upgrade" in judge_definition(crd(RESOURCES[0]), None).text


def kuberay(fields, version="v1"):
    spec = {"properties": {name: {"type": "object", "properties": inside} for name, inside in fields.items()}}
    schema = {"openAPIV3Schema": {"properties": {"spec": spec}}}
    return {"spec": {"versions": [{"name": version, "served": True, "schema": schema}]}, "status": ESTABLISHED}


GROUPS = {"workerGroupSpecs": {}}
FIELDS = {
    "rayVersion": {},
    "authOptions": {"mode": {}, "secretName": {}},
    "gcsFaultToleranceOptions": {"redisAddress": {}},
}


def new_enough():
    standing = kuberay(FIELDS)
    groups = {"items": {"properties": {"scaleStrategy": {"properties": {"workersToDelete": {}}}}}}
    schema = standing["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["workerGroupSpecs"] = groups
    return standing


def ray_cluster(age, **fields):
    created = (T0 - timedelta(seconds=age)).isoformat()
    return {"metadata": {"namespace": "team", "name": f"c-{age}", "creationTimestamp": created}, **fields}


def pod(age, version):
    tags = {"name": "RAY_USAGE_STATS_EXTRA_TAGS", "value": f"kuberay_version={version};kuberay_crd=RayCluster"}
    return {**ray_cluster(age), "spec": {"containers": [{"env": [tags]}, {}]}}


def test_a_kuberay_that_is_new_enough_is_well():
    assert judge_kuberay(new_enough(), Seen(T0)).well


def test_the_version_of_kuberays_operator_is_what_it_wrote_last():
    pods = (pod(500, "v1.6.0"), pod(20, "v1.7.0"))
    assert judge_kuberay(new_enough(), Seen(T0, pods=pods)).text.endswith("its operator is v1.7.0")


def test_a_ray_cluster_that_nobody_acts_on_tells_of_an_operator_that_does_not_run():
    clusters = (ray_cluster(300, status={"state": "ready"}), ray_cluster(10))
    assert judge_kuberay(new_enough(), Seen(T0, clusters)).well
    finding = judge_kuberay(new_enough(), Seen(T0, (*clusters, ray_cluster(300), ray_cluster(400))))
    assert not finding.well
    assert "nobody acts on RayCluster team/c-300 (2 in all)" in finding.text


def test_a_kuberay_that_is_missing_or_old_is_said_with_what_to_do():
    assert "the API server does not know RayCluster" in judge_kuberay(None, Seen(T0)).text
    assert "not served as ray.io/v1" in judge_kuberay(kuberay(FIELDS, "v1alpha1"), Seen(T0)).text
    old = judge_kuberay(kuberay({**FIELDS, "authOptions": {"mode": {}}}), Seen(T0))
    assert "has no authOptions.secretName, workerGroupSpecs.scaleStrategy.workersToDelete: it is too old" in old.text
    assert "install KubeRay 1.6" in old.text


def test_a_schema_that_keeps_unknown_fields_knows_every_field():
    assert knows({"properties": {"a": {"x-kubernetes-preserve-unknown-fields": True}}}, "a.b.c")


def test_empty_and_absent_are_the_same_and_other_values_differ():
    assert list(differences({"a": [], "b": False, "c": None}, {})) == []
    assert list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})) == ["a[1].b"]
    assert list(differences({"a": [1]}, {"a": [1, 2]})) == ["a"]


def test_only_what_the_settings_use_needs_a_right():
    def resources(**settings):
        return {right.resource for right in rights(Settings(**settings), ())}

    assert not resources() & {"leases", "networkpolicies", "namespaces"}
    assert "leases" in resources(lease_name="tidemill", operator_namespace="tidemill")
    assert "networkpolicies" in resources(
        network_policies=True, operator_namespace="tidemill", operator_selector=("a=b",)
    )
    patched = {right.resource for right in rights(Settings(alerts_port=9000), ()) if "patch" in right.verbs}
    assert {"batchinferencejobs", "realtimeendpoints"} <= patched
    (scoped,) = (right for right in rights(Settings(), ("team",)) if right.resource == "namespaces")
    assert scoped.where is Where.CLUSTER
