"""The chart's rights as the API server judges them: the operator may do what its own check asks for, and no more."""

import pytest
import yaml
from helm_releases import Helm
from rendered_chart import CHART

from tidemill_operator.config import Settings
from tidemill_operator.rights import Where, rights

ANYBODY = {"authentication.k8s.io", "authorization.k8s.io"}
"""Groups in which every authenticated user may ask about himself."""


@pytest.fixture
def helm(cluster, namespace, tmp_path):
    return Helm(cluster.kubeconfig, tmp_path, namespace)


@pytest.fixture
def allowed(kubectl, namespace):
    """What the operator may do in a namespace: (group, resource, names) -> verbs, by a SelfSubjectRulesReview."""

    def ask(where):
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": where},
        }
        account = f"--as=system:serviceaccount:{namespace}:{namespace}"
        found = {}
        groups = [f"--as-group={group}" for group in ("system:serviceaccounts", "system:authenticated")]
        answer = kubectl("create", account, *groups, "--validate=false", "-o", "yaml", "-f", "-", given=review)
        for rule in yaml.safe_load(answer)["status"]["resourceRules"]:
            for group in set(rule["apiGroups"]) - ANYBODY:
                for resource in rule["resources"]:
                    key = (group, resource, *rule.get("resourceNames", []))
                    found.setdefault(key, set()).update(rule["verbs"])
        return found

    return ask


def wanted(settings, *places):
    found = {}
    for right in rights(settings, settings.namespaces):
        if right.where in places:
            name = (settings.lease_name,) if right.where is Where.LEASE else ()
            found.setdefault((right.group, right.resource, *name), set()).update(right.verbs)
    return found


def settings_of(namespace, **more):
    selector = ("a=b",)
    given = {"lease_name": namespace, "operator_namespace": namespace, "operator_selector": selector}
    return Settings(**given, network_policies=True, **more)


def test_in_all_namespaces_the_operator_may_what_it_needs_and_its_lease_only_at_home(helm, allowed, namespace):
    helm("install", "tide", str(CHART), values={"fullnameOverride": namespace, "crds": {"install": False}})
    try:
        settings = settings_of(namespace)
        assert allowed("default") == wanted(settings, Where.CLUSTER, Where.WATCHED)
        assert allowed(namespace) == wanted(settings, *Where)
    finally:
        helm("uninstall", "tide")


def test_with_named_namespaces_it_may_nothing_in_others(helm, allowed, namespace):
    values = {"fullnameOverride": namespace, "crds": {"install": False}, "watchNamespaces": [namespace]}
    helm("install", "tide", str(CHART), values=values)
    try:
        settings = settings_of(namespace, namespaces=(namespace,))
        assert allowed("default") == wanted(settings, Where.CLUSTER)
        assert allowed(namespace) == wanted(settings, *Where)
    finally:
        helm("uninstall", "tide")


def test_what_it_has_no_right_to_is_forbidden(helm, kubectl, namespace):
    helm("install", "tide", str(CHART), values={"fullnameOverride": namespace, "crds": {"install": False}})
    account = f"--as=system:serviceaccount:{namespace}:{namespace}"
    try:
        for words in (
            ("get", "secrets"),
            ("get", "leases"),
            ("get", f"lease/{namespace}x"),
            ("delete", f"lease/{namespace}"),
            ("create", "configmap", "x"),
            ("get", "clusterroles"),
        ):
            said = kubectl.run(*words, "-n", namespace, account)
            assert " is forbidden: User " in said.stderr, words
        assert kubectl("get", f"lease/{namespace}", "-n", namespace, "-o", "name", account)
    finally:
        helm("uninstall", "tide")


def test_users_with_kubernetes_own_roles_work_with_jobs_and_endpoints(helm, kubectl, namespace):
    helm("install", "tide", str(CHART), values={"fullnameOverride": namespace, "crds": {"install": False}})
    try:
        for role, verbs in {"view": {"get", "list", "watch"}, "edit": {"get", "create", "delete", "patch"}}.items():
            kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}", "-n", namespace)
            for verb in verbs:
                for kind in ("batchinferencejobs.tidemill.dev", "realtimeendpoints.tidemill.dev"):
                    assert kubectl("auth", "can-i", verb, kind, "-n", namespace, f"--as={role}").strip() == "yes"
        refused = kubectl.run(
            "auth", "can-i", "create", "batchinferencejobs.tidemill.dev", "-n", namespace, "--as=view"
        )
        assert refused.stdout.strip() == "no"
    finally:
        helm("uninstall", "tide")
