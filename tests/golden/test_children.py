"""All that the operator makes: each child goes with its owner, no pod needs a privilege, no stranger reaches one."""

import ast
from pathlib import Path

import kubernetes_validate
import pytest
from golden import render, render_endpoint

from devcluster.apiserver.pod_security import violations
from tidemill_api import labels
from tidemill_operator import cluster
from tidemill_operator.manifests import endpoint_cluster, pods
from tidemill_operator.manifests.network_policy import network_policy

OPERATOR = Path(cluster.__file__).parent
JOBS = [pytest.param(render, name, id=name) for name in render.names()]
ENDPOINTS = [pytest.param(render_endpoint, name, id=name) for name in render_endpoint.names()]
WITHOUT_OWNER = {"events", "selfsubjectaccessreviews"}
"""What goes by itself: Kubernetes deletes an Event after an hour, and keeps no review at all."""


def children(of, name):
    """Every object that is made for this case; the body of a PUT to Serve is none."""
    made = [child for child in of.children(name) if "kind" in child]
    return [*made, network_policy(made[1], render.TERMS)]


def templates(of, name):
    spec = children(of, name)[1]["spec"]
    return [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]


@pytest.mark.parametrize(("of", "name"), JOBS + ENDPOINTS)
def test_every_child_goes_with_its_owner(of, name):
    """Kubernetes' garbage collector follows an owner reference within one namespace, by uid."""
    owners = [child["metadata"]["ownerReferences"] for child in children(of, name)]
    assert all(len(references) == 1 for references in owners)
    kind = "BatchInferenceJob" if of is render else "RealtimeEndpoint"
    for (owner,) in owners:
        assert owner["uid"] == of.UID
        assert (owner["apiVersion"], owner["kind"], owner["controller"]) == ("tidemill.dev/v1alpha1", kind, True)
        assert "blockOwnerDeletion" not in owner, "it would take the right to the owner's finalizers"
    assert {child["metadata"]["namespace"] for child in children(of, name)} == {"team"}


def test_no_child_is_made_that_is_not_looked_at_here():
    """By the code: the resources that the operator's calls of `create` name."""
    resources = {name: of.plural for name, of in vars(cluster).items() if isinstance(of, cluster.Resource)}
    made = set()
    for path in OPERATOR.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            creates = isinstance(call.func, ast.Attribute) and call.func.attr in ("create", "_create_or_find")
            if creates and call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in resources:
                made.add(resources[call.args[0].id])
    kinds = {f"{child['kind'].lower()}s" for child in children(render_endpoint, "everything")}
    assert made - WITHOUT_OWNER == {kind.replace("policys", "policies") for kind in kinds}


@pytest.mark.parametrize(("of", "name"), JOBS + ENDPOINTS)
def test_pods_keep_the_restricted_pod_security_standard(of, name):
    for template in templates(of, name):
        assert violations("restricted", template["spec"]) == []


@pytest.mark.parametrize(("of", "name"), JOBS + ENDPOINTS)
def test_kubernetes_own_schema_takes_the_children(of, name):
    for child in children(of, name):
        if child["kind"] != "RayCluster":  # KubeRay's, and judged by its own
            kubernetes_validate.validate(child, "1.34", strict=True)


def ports_from(policy, chooses):
    rules = [rule for rule in policy["spec"]["ingress"] if chooses(rule)]
    return {port["port"] for rule in rules for port in rule.get("ports", ())}


@pytest.mark.parametrize(("of", "name"), JOBS + ENDPOINTS)
def test_the_policy_selects_every_pod_of_the_cluster_and_only_those(of, name):
    """KubeRay writes the label on each pod, as it does on those of clusters that stood before."""
    *_, policy = children(of, name)
    cluster_name = children(of, name)[1]["metadata"]["name"]
    assert policy["spec"]["podSelector"] == {"matchLabels": {"ray.io/cluster": cluster_name}}
    assert policy["metadata"]["name"] == cluster_name
    assert not any(key.startswith("kueue") for key in policy["metadata"]["labels"])


@pytest.mark.parametrize(("of", "name"), JOBS + ENDPOINTS)
def test_the_operator_reaches_what_it_reads_and_prometheus_figures_alone(of, name):
    *_, policy = children(of, name)
    operator = ports_from(
        policy, lambda rule: any("podSelector" in p and "namespaceSelector" in p for p in rule.get("from", ()))
    )
    prometheus = ports_from(policy, lambda rule: any("matchExpressions" in str(p) for p in rule.get("from", ())))
    figures = {8090} if of is render else {8090, 8091}
    assert operator == {8265} | figures
    assert prometheus == {8080} | figures
    ports = pods.HEAD_PORTS if of is render else endpoint_cluster.WORKER_PORTS
    assert prometheus <= set(ports.values())


@pytest.mark.parametrize(("of", "name"), JOBS + ENDPOINTS)
def test_clients_reach_an_endpoints_ingress_and_nothing_of_a_job(of, name):
    *_, policy = children(of, name)
    assert ports_from(policy, lambda rule: "from" not in rule) == (set() if of is render else {8000})


def test_every_pod_says_whose_it_is():
    for of, name, label in ((render, "cpu", labels.JOB_NAME), (render_endpoint, "small", labels.ENDPOINT_NAME)):
        assert all(label in template["metadata"]["labels"] for template in templates(of, name))
