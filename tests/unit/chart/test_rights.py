"""What the chart lets the operator and the users do: exactly what is in tests/chart_rights.py."""

from __future__ import annotations

from typing import Any

import pytest
from chart_rights import GRANTED, LEADER, WITH_ALERTS
from rendered_chart import environment, granted, named, one, pod, render

from tidemill_operator.config import Settings
from tidemill_operator.rights import Where, rights

OURS = ("batchinferencejobs", "batchinferencejobs/status", "realtimeendpoints", "realtimeendpoints/status")
GROUPS = dict.fromkeys(OURS, "tidemill.dev") | {"rayclusters": "ray.io", "networkpolicies": "networking.k8s.io"}
IN_A_WATCHED_NAMESPACE = {(GROUPS.get(resource, ""), resource): verbs for resource, verbs in GRANTED.items()}
EVERYWHERE = {("apiextensions.k8s.io", "customresourcedefinitions"): {"get", "list", "watch"}}


def test_the_operator_may_do_what_it_needs_in_all_namespaces_and_no_more() -> None:
    manifests = render()
    assert granted(named(manifests, "ClusterRole", "tide-tidemill")) == IN_A_WATCHED_NAMESPACE | EVERYWHERE
    (role,) = [manifest for manifest in manifests if manifest["kind"] == "Role"]
    assert role["metadata"]["name"] == "tide-tidemill-leader"
    assert environment(manifests)["TIDEMILL_NAMESPACES"] == ""


def test_without_network_policies_the_operator_has_no_right_to_any() -> None:
    manifests = render(settings={"networkPolicies": False})
    rights = granted(named(manifests, "ClusterRole", "tide-tidemill"))
    wanted = IN_A_WATCHED_NAMESPACE | EVERYWHERE
    assert rights == {key: verbs for key, verbs in wanted.items() if key[1] != "networkpolicies"}


def test_with_named_namespaces_the_operator_may_do_nothing_elsewhere() -> None:
    manifests = render(watchNamespaces=["team-a", "team-b"])
    assert granted(named(manifests, "ClusterRole", "tide-tidemill")) == EVERYWHERE | {
        ("", "namespaces"): {"list", "watch"}
    }
    roles = [m for m in manifests if m["kind"] == "Role" and m["metadata"]["name"] == "tide-tidemill"]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    assert all(granted(role) == IN_A_WATCHED_NAMESPACE for role in roles)
    assert environment(manifests)["TIDEMILL_NAMESPACES"] == "team-a,team-b"


def test_every_binding_leads_from_a_role_of_ours_to_our_service_account() -> None:
    manifests = render(watchNamespaces=["team-a"])
    account = one(manifests, "ServiceAccount")["metadata"]
    bindings = [manifest for manifest in manifests if manifest["kind"].endswith("Binding")]
    assert len(bindings) == 3
    for binding in bindings:
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (account["name"], "tidemill")
        role = named(manifests, binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert role["metadata"].get("namespace") == binding["metadata"].get("namespace")
    assert pod(manifests)["serviceAccountName"] == account["name"]


def test_no_role_reaches_for_more() -> None:
    for role in (
        manifest for manifest in render(watchNamespaces=["a"]) + render() if manifest["kind"].endswith("Role")
    ):
        for (group, resource), verbs in granted(role).items():
            assert "*" not in (group, resource, *verbs)
            assert not {"escalate", "bind", "impersonate"} & verbs
            assert not (resource == "pods" and verbs - {"get", "list", "watch"}), "the operator makes no pods"
            assert not (resource == "secrets" and {"list", "watch"} & verbs), "nobody's Secrets are looked through"


def test_the_operator_may_read_and_write_its_own_lease_and_no_other() -> None:
    manifests = render(watchNamespaces=["team-a"])
    role = named(manifests, "Role", "tide-tidemill-leader")
    lease = one(manifests, "Lease")
    assert granted(role) == {("coordination.k8s.io", resource): verbs for resource, verbs in LEADER.items()}
    assert [rule["resourceNames"] for rule in role["rules"]] == [[lease["metadata"]["name"]]]
    assert role["metadata"]["namespace"] == lease["metadata"]["namespace"] == "tidemill"
    assert "spec" not in lease, "an upgrade would take the lease from who holds it"
    assert environment(manifests)["TIDEMILL_LEASE_NAME"] == lease["metadata"]["name"]


def test_without_rbac_there_is_no_role_and_no_binding() -> None:
    made = {manifest["kind"] for manifest in render(rbac={"create": False}, watchNamespaces=["team-a"])}
    assert not {kind for kind in made if "Role" in kind}


def test_roles_of_users_join_kubernetes_own_and_can_be_left_out() -> None:
    edit = named(render(), "ClusterRole", "tide-tidemill-edit")
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    scale = next(rule for rule in edit["rules"] if rule["resources"] == ["realtimeendpoints/scale"])
    assert scale["verbs"] == ["get", "update", "patch"]  # what kubectl scale and an autoscaler ask for
    without = render(rbac={"aggregateToDefaultRoles": False})
    assert [m["metadata"]["name"] for m in without if m["kind"] == "ClusterRole"] == ["tide-tidemill"]


def test_with_the_alert_webhook_the_operator_may_also_write_the_objects() -> None:
    manifests = render(settings={"alertsPort": 9095}, alertWebhook={"credentialsSecret": "alerts"})
    more = {("tidemill.dev", resource): verbs | GRANTED[resource] for resource, verbs in WITH_ALERTS.items()}
    assert granted(named(manifests, "ClusterRole", "tide-tidemill")) == IN_A_WATCHED_NAMESPACE | EVERYWHERE | more


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"settings": {"networkPolicies": False}},
        {"watchNamespaces": ["team-a", "tidemill"]},
        {"settings": {"alertsPort": 9095}, "alertWebhook": {"credentialsSecret": "alerts"}},
    ],
    ids=["defaults", "no policies", "two namespaces", "alerts"],
)
def test_the_roles_give_exactly_the_rights_that_the_operator_asks_its_own_check_for(values: dict[str, Any]) -> None:
    manifests = render(**values)
    downward = {"TIDEMILL_OPERATOR_NAMESPACE": "tidemill", "TIDEMILL_POD_NAME": "p"}
    settings = Settings.from_environment(environment(manifests) | downward)
    wanted: dict[Where, dict[tuple[str, str], set[str]]] = {where: {} for where in Where}
    for right in rights(settings, settings.namespaces):
        wanted[right.where].setdefault((right.group, right.resource), set()).update(right.verbs)
    everywhere = granted(named(manifests, "ClusterRole", "tide-tidemill"))
    assert granted(named(manifests, "Role", "tide-tidemill-leader")) == wanted[Where.LEASE]
    if not settings.namespaces:
        assert everywhere == wanted[Where.CLUSTER] | wanted[Where.WATCHED]
        return
    assert everywhere == wanted[Where.CLUSTER]
    roles = [m for m in manifests if m["kind"] == "Role" and m["metadata"]["name"] == "tide-tidemill"]
    assert [role["metadata"]["namespace"] for role in roles] == list(settings.namespaces)
    assert all(granted(role) == wanted[Where.WATCHED] for role in roles)
