"""Nobody grants what he does not hold."""

import pytest
from rbac_objects import GROUP, Rbac, rule, user

from devcluster.apiserver.access.escalation import RightsGuard
from devcluster.apiserver.access.rules import Rule, missing
from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.requests import Target

REGISTRY = Registry(built_in_resources())


def rules(*policies):
    return [Rule.from_policy(policy) for policy in policies]


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        ([rule("get list", "pods services")], [rule("list", "services")], []),
        ([rule("get", "pods"), rule("list", "pods")], [rule("get list", "pods")], []),
        ([rule("get", "pods")], [rule("get list watch", "pods")],
         ['{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}']),
        ([rule("*", "*", "*")], [rule("get", "pods/log", "core")], []),
        ([rule("*", "*", "*")], [rule("get", paths="/metrics")], ['{NonResourceURLs:["/metrics"], Verbs:["get"]}']),
        ([rule("get", "pods")], [rule("get", "*")], ['{APIGroups:[""], Resources:["*"], Verbs:["get"]}']),
        ([rule("get", "pods")], [rule("*", "pods")], ['{APIGroups:[""], Resources:["pods"], Verbs:["*"]}']),
        ([rule("get", "*/status")], [rule("get", "pods/status")], []),
        ([rule("get", "pods", names="a b")], [rule("get", "pods", names="a")], []),
        ([rule("get", "pods", names="a")], [rule("get", "pods", names="a b")],
         ['{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}']),
        ([rule("get", "pods", names="a")], [rule("get", "pods")],
         ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}']),
        ([rule("get", "pods")], [rule("get", "pods", names="a")], []),
        ([rule("get", paths="/logs/*")], [rule("get", paths="/logs/a /logs/b/*")], []),
        ([rule("get", paths="/logs/a")], [rule("get", paths="/logs/*")],
         ['{NonResourceURLs:["/logs/*"], Verbs:["get"]}']),
    ],
)  # fmt: skip
def test_what_is_lacking_is_what_no_held_rule_covers(held, wanted, lacking):
    assert [str(one) for one in missing(rules(*held), rules(*wanted))] == lacking


@pytest.fixture
def rbac(tmp_path):
    opened = Rbac(tmp_path)
    opened.cluster_role("power", rule("get", "pods"), rule("create update", "roles rolebindings", GROUP))
    opened.bind("n", "power", "ClusterRole/power", "User/ann")
    yield opened
    opened.close()


def write(rbac, plural, document, namespace="n", old=None):
    """Have ann write an RBAC object; returns the refusal's text, empty where there is none."""
    resource = REGISTRY.find(GROUP, "v1", plural)
    document = {**document, "metadata": {"name": "new", **document.get("metadata", {})}}
    try:
        RightsGuard(rbac.authorizer, user("ann")).check_write(Target(resource, namespace), document, old)
    except StatusError as refused:
        return refused.message
    return ""


def binding(kind, name):
    return {"roleRef": {"apiGroup": GROUP, "kind": kind, "name": name}, "subjects": [{"kind": "User", "name": "bob"}]}


def test_a_role_may_say_what_its_writer_holds_there(rbac):
    assert write(rbac, "roles", {"rules": [rule("get", "pods")]}) == ""
    told = write(rbac, "roles", {"rules": [rule("get list", "pods secrets")]})
    assert told.startswith(
        'roles.rbac.authorization.k8s.io "new" is forbidden: user "ann" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
    )
    assert told.endswith(
        '\n{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )
    assert write(rbac, "roles", {"rules": [rule("get", "pods")]}, namespace="m")
    assert write(rbac, "clusterroles", {"rules": [rule("get", "pods")]}, namespace="")


def test_a_role_may_be_bound_by_whom_holds_it(rbac):
    rbac.cluster_role("small", rule("get", "pods"))
    assert write(rbac, "rolebindings", binding("ClusterRole", "small")) == ""
    assert write(rbac, "clusterrolebindings", binding("ClusterRole", "small"), namespace="")
    rbac.role("n", "large", rule("delete", "pods"))
    assert "not currently held" in write(rbac, "rolebindings", binding("Role", "large"))
    assert write(rbac, "rolebindings", binding("Role", "gone")) == 'roles.rbac.authorization.k8s.io "gone" not found'


def test_escalate_and_bind_lift_the_bound_for_the_names_they_say(rbac):
    rbac.role("n", "large", rule("delete", "pods"))
    rbac.role("n", "special", rule("bind", "roles", GROUP, "large"), rule("escalate", "roles", GROUP, "new"))
    rbac.bind("n", "special", "Role/special", "User/ann")
    assert write(rbac, "rolebindings", binding("Role", "large")) == ""
    assert write(rbac, "roles", {"rules": [rule("*", "*", "*")]}) == ""
    assert write(rbac, "roles", {"rules": [rule("*", "*", "*")], "metadata": {"name": "other"}})


def test_only_who_may_do_everything_may_gather_rules(rbac):
    gathering = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    told = write(rbac, "clusterroles", gathering, namespace="")
    assert told.endswith("must have cluster-admin privileges to use an aggregationRule")
    rbac.cluster_role("all", rule("*", "*", "*"), rule("*", paths="*"))
    rbac.bind("", "all", "ClusterRole/all", "User/ann")
    assert write(rbac, "clusterroles", gathering, namespace="") == ""


def test_a_change_of_nothing_but_owners_or_finalizers_is_no_grant(rbac):
    old = {"metadata": {"name": "new", "finalizers": ["a"]}, "rules": [rule("*", "*", "*")]}
    assert write(rbac, "roles", {**old, "metadata": {"name": "new"}}, old=old) == ""
    assert write(rbac, "roles", {**old, "metadata": {"name": "new", "labels": {"a": "b"}}}, old=old)
