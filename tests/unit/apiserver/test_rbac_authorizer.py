"""Who may do what by RBAC: tables made by hand from Kubernetes' documentation, and what a decision costs."""

import time

import pytest
from rbac_objects import Rbac, rule, user

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.access.authorizer import ROLE_BINDINGS, Decision
from devcluster.apiserver.access.users import ADMINISTRATOR, ANONYMOUS, User, account_groups
from devcluster.apiserver.store import Key


@pytest.fixture
def rbac(tmp_path):
    opened = Rbac(tmp_path)
    yield opened
    opened.close()


def on(verb, resource, namespace="", name="", group=""):
    resource, _, subresource = resource.partition("/")
    return Attributes(verb, group, resource, subresource, namespace, name)


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        (rule("get list", "pods"), on("get", "pods", "n", "p"), True),
        (rule("get list", "pods"), on("list", "pods", "n"), True),
        (rule("get list", "pods"), on("watch", "pods", "n"), False),
        (rule("get", "pods"), on("get", "pods/log", "n", "p"), False),
        (rule("get", "pods/log"), on("get", "pods/log", "n", "p"), True),
        (rule("get", "pods/log"), on("get", "pods", "n", "p"), False),
        (rule("get", "*/log"), on("get", "pods/log", "n", "p"), True),
        (rule("get", "*/log"), on("get", "pods", "n", "p"), False),
        (rule("get", "pods/*"), on("get", "pods/log", "n", "p"), False),
        (rule("get", "*"), on("get", "pods/log", "n", "p"), True),
        (rule("*", "pods"), on("deletecollection", "pods", "n"), True),
        (rule("get", "deployments", "apps"), on("get", "deployments", "n", "d"), False),
        (rule("get", "deployments", "apps core"), on("get", "deployments", "n", "d", "apps"), True),
        (rule("get", "*", "*"), on("get", "things", "n", "t", "example.com"), True),
        (rule("get", "*", "core"), on("get", "things", "n", "t", "example.com"), False),
        (rule("get", "pods", names="a b"), on("get", "pods", "n", "b"), True),
        (rule("get", "pods", names="a b"), on("get", "pods", "n", "c"), False),
        (rule("list", "pods", names="a"), on("list", "pods", "n"), False),
        (rule("list", "pods", names="a"), on("list", "pods", "n", "a"), True),
        (rule("create", "pods", names="a"), on("create", "pods", "n"), False),
        (rule("update", "leases/status", names="a"), on("update", "leases/status", "n", "a"), True),
        (rule("get", paths="/metrics"), Attributes("get", path="/metrics"), True),
        (rule("get", paths="/metrics"), Attributes("post", path="/metrics"), False),
        (rule("get", paths="/metrics"), Attributes("get", path="/metrics/more"), False),
        (rule("get", paths="/logs/*"), Attributes("get", path="/logs/a/b"), True),
        (rule("get", paths="/logs/*"), Attributes("get", path="/logs"), False),
        (rule("get", paths="*"), Attributes("get", path="/anything"), True),
        (rule("get", "*", "*"), Attributes("get", path="/metrics"), False),
        (rule("get", paths="*"), on("get", "pods", "n", "p"), False),
    ],
)
def test_a_rule_allows_what_it_says_and_no_more(rbac, granted, asked, allowed):
    rbac.cluster_role("r", granted)
    rbac.bind("", "b", "ClusterRole/r", "User/ann")
    assert rbac.authorizer.decide(user("ann"), asked).allowed is allowed
    assert rbac.authorizer.decide(user("bob"), asked).allowed is False


@pytest.mark.parametrize(
    ("who", "subject", "meant"),
    [
        (user("ann"), "User/ann", True),
        (user("ann"), "User/Ann", False),
        (user("ann", "team"), "Group/team", True),
        (user("ann"), "Group/system:authenticated", True),
        (user("team"), "Group/team", False),
        (user("system:serviceaccount:n:robot"), "ServiceAccount/n/robot", True),
        (user("system:serviceaccount:n:robot"), "ServiceAccount/other/robot", False),
        (user("system:serviceaccount:n:robot"), "ServiceAccount/robot", True),
        (user("system:serviceaccount:m:robot"), "ServiceAccount/robot", False),
        (user("system:serviceaccount:n:robot"), "User/system:serviceaccount:n:robot", True),
        (User("system:serviceaccount:n:robot", account_groups("n")), "Group/system:serviceaccounts:n", True),
        (ANONYMOUS, "Group/system:authenticated", False),
        (ANONYMOUS, "Group/system:unauthenticated", True),
        (user("ann"), "Robot/ann", False),
    ],
)
def test_a_subject_means_whom_it_names(rbac, who, subject, meant):
    rbac.role("n", "r", rule("get", "pods"))
    rbac.bind("n", "b", "Role/r", subject)
    assert rbac.authorizer.decide(who, on("get", "pods", "n", "p")).allowed is meant


def test_a_role_binding_holds_in_its_namespace_alone_even_for_a_cluster_role(rbac):
    rbac.cluster_role("r", rule("get", "pods nodes"), rule("get", paths="/metrics"))
    rbac.bind("n", "b", "ClusterRole/r", "User/ann")
    may = {
        on("get", "pods", "n", "p"): True,
        on("get", "pods", "m", "p"): False,
        on("get", "pods"): False,
        on("get", "nodes", "", "a"): False,
        Attributes("get", path="/metrics"): False,
    }
    assert {asked: rbac.authorizer.decide(user("ann"), asked).allowed for asked in may} == may


def test_a_service_account_without_a_namespace_in_a_cluster_role_binding_is_nobody(rbac):
    rbac.cluster_role("r", rule("get", "pods"))
    rbac.bind("", "b", "ClusterRole/r", "ServiceAccount/robot")
    assert not rbac.authorizer.decide(user("system:serviceaccount::robot"), on("get", "pods", "n")).allowed


def test_a_decision_names_the_binding_it_comes_by(rbac):
    rbac.role("n", "reader", rule("get", "pods"))
    rbac.bind("n", "readers", "Role/reader", "ServiceAccount/n/robot")
    decision = rbac.authorizer.decide(user("system:serviceaccount:n:robot"), on("get", "pods", "n", "p"))
    told = 'RBAC: allowed by RoleBinding "readers/n" of Role "reader" to ServiceAccount "robot/n"'
    assert decision == Decision(True, told)


def test_a_missing_role_is_named_in_a_refusal_and_spoils_nothing_else(rbac):
    rbac.bind("", "broken", "ClusterRole/gone", "User/ann")
    asked = on("get", "pods", "n", "p")
    assert rbac.authorizer.decide(user("ann"), asked) == Decision(
        False, 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'
    )
    rbac.cluster_role("r", rule("get", "pods"))
    rbac.bind("", "whole", "ClusterRole/r", "User/ann")
    assert rbac.authorizer.decide(user("ann"), asked).allowed


def test_a_write_of_a_role_or_binding_counts_at_once(rbac):
    asked, ann = on("get", "pods", "n", "p"), user("ann")
    assert not rbac.authorizer.decide(ann, asked).allowed
    rbac.role("n", "r", rule("list", "pods"))
    rbac.bind("n", "b", "Role/r", "User/ann")
    assert not rbac.authorizer.decide(ann, asked).allowed
    rbac.role("n", "r", rule("get", "pods"))
    assert rbac.authorizer.decide(ann, asked).allowed
    rbac.store.delete(Key(ROLE_BINDINGS, "n", "b"))
    assert not rbac.authorizer.decide(ann, asked).allowed


def test_administrators_are_asked_for_no_rule(rbac):
    assert rbac.authorizer.decide(ADMINISTRATOR, on("delete", "nodes", "", "a")).allowed
    assert rbac.authorizer.decide(user("ann", "system:masters"), Attributes("get", path="/x")).allowed


def test_a_repeated_decision_costs_microseconds_however_many_names_and_bindings_there_are(rbac):
    rbac.cluster_role("r", *(rule("get list watch patch", f"things{number}", "example.com") for number in range(40)))
    for number in range(300):
        rbac.bind("", f"b{number}", "ClusterRole/r", f"User/user{number}")
    ann = user("user299", *(f"group{number}" for number in range(5)))
    asked = [on("patch", "things39/status", "n", f"t{number}", "example.com") for number in range(10_000)]
    allowed = [one._replace(subresource="") for one in asked]
    rbac.authorizer.decide(ann, allowed[0])
    rbac.authorizer.decide(ann, asked[0])
    begin = time.perf_counter()
    assert all(rbac.authorizer.decide(ann, one).allowed for one in allowed)
    assert not any(rbac.authorizer.decide(ann, one).allowed for one in asked)
    each = (time.perf_counter() - begin) / 20_000
    assert each < 200e-6, f"{each * 1e6:.1f} microseconds: as much as a walk through all bindings"


def test_answers_to_ever_new_questions_do_not_fill_the_memory(rbac):
    for number in range(25_000):
        rbac.authorizer.decide(user("ann"), Attributes("get", path=f"/{number}"))
    assert len(rbac.authorizer._answers) <= 20_000
