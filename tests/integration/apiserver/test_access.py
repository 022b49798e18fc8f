"""The real kubectl as other users than the administrator: tokens over TLS, --as, can-i, and rights that end."""

import json
import time

import pytest
from api_audit import Use, refused, used
from api_server_process import config_map, pod
from api_users import account, serving
from cluster_fixtures import Kubectl

from devcluster.apiserver.kubeconfig import token_kubeconfig

RBAC = "rbac.authorization.k8s.io"


def soon(check, seconds=10.0):
    """Wait for what a controller of the server does a moment after a write."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not so within {seconds} s"


@pytest.fixture
def data(server):
    """The server's data folder."""
    return server.folder / "data"


@pytest.fixture
def admin(kubectl, namespace):
    """The administrator's kubectl in this test's namespace."""

    def run(*words, **options):
        return kubectl("--namespace", namespace, *words, **options)

    run.fails = lambda *words, given=None: kubectl.run("--namespace", namespace, *words, given=given).stderr
    return run


@pytest.fixture
def robot(server, data, namespace, tmp_path):
    """A ServiceAccount without any rights of its own."""
    return account(server.kubeconfig, data, tmp_path, namespace, "robot")


@pytest.fixture
def as_robot(robot):
    """kubectl with the robot's token, over TLS."""
    return Kubectl(robot.kubeconfig)


def test_a_token_over_tls_says_who_one_is(as_robot, robot):
    shown = as_robot.json("auth", "whoami")["status"]["userInfo"]
    assert shown["username"] == robot.user
    assert shown["groups"] == [
        "system:serviceaccounts", f"system:serviceaccounts:{robot.namespace}", "system:authenticated"]  # fmt: skip


def test_an_account_may_do_what_it_is_given_and_no_more(admin, as_robot, robot):
    told = as_robot.run("get", "configmaps").stderr
    assert told == (
        f'Error from server (Forbidden): configmaps is forbidden: User "{robot.user}" cannot list resource '
        f'"configmaps" in API group "" in the namespace "{robot.namespace}"\n'
    )
    admin("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    admin("create", "rolebinding", "readers", "--role=reader", f"--serviceaccount={robot.namespace}:robot")
    assert "kube-root-ca.crt" in as_robot("get", "configmaps")
    assert "cannot create resource" in as_robot.run("create", "configmap", "c").stderr
    assert "cannot list resource" in as_robot.run("get", "configmaps", "--all-namespaces").stderr
    admin("delete", "rolebinding", "readers")
    assert "forbidden" in as_robot.run("get", "configmaps").stderr


def test_the_reader_of_the_audit_log_tells_what_was_used(admin, as_robot, robot, data):
    admin("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    admin("create", "rolebinding", "readers", "--role=reader", f"--serviceaccount={robot.namespace}:robot")
    as_robot("get", "configmap", "kube-root-ca.crt")
    as_robot.run("delete", "configmap", "kube-root-ca.crt")
    there = robot.namespace
    assert Use(robot.user, "get", "configmaps", "", there) in used(data, robot.user)
    assert refused(data, robot.user) == {Use(robot.user, "delete", "configmaps", "", there)}
    assert robot.token not in (data / "audit.jsonl").read_text()
    assert not used(data, "devcluster"), "administrators are left out"


def test_can_i_answers_by_the_real_rules(admin, as_robot, robot):
    admin("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log", "--resource-name=p")
    admin("create", "rolebinding", "readers", "--role=reader", f"--serviceaccount={robot.namespace}:robot")
    answers = {
        ("get", "pods/p"): "yes\n", ("get", "pods"): "no\n", ("get", "pods/p", "--subresource=log"): "yes\n",
        ("delete", "pods/p"): "no\n", ("get", "/version"): "yes\n", ("get", "/metrics"): "no\n",
    }  # fmt: skip
    assert {asked: as_robot.run("auth", "can-i", *asked).stdout for asked in answers} == answers
    listed = [line.split() for line in as_robot("auth", "can-i", "--list").splitlines()]
    assert ["pods/log", "[]", "[p]", "[get", "list]"] in listed
    assert admin("auth", "can-i", "delete", "nodes") == "yes\n"
    asked = admin.fails("auth", "can-i", "get", "pods", "--as", "nobody")
    assert asked == "", "anybody who is somebody may ask"


def test_acting_as_another_needs_the_right_to(admin, as_robot, robot):
    admin("create", "role", "reader", "--verb=list", "--resource=pods")
    admin("create", "rolebinding", "readers", "--role=reader", "--group=team")
    admin("get", "pods", "--as", "ann", "--as-group", "team")
    assert 'User "ann" cannot list resource "pods"' in admin.fails("get", "pods", "--as", "ann")
    told = as_robot.run("get", "pods", "--as", "ann").stderr
    assert f'users "ann" is forbidden: User "{robot.user}" cannot impersonate resource "users"' in told
    name = f"impersonator-{robot.namespace}"
    admin("create", "clusterrole", name, "--verb=impersonate", "--resource=users,groups")
    admin("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={robot.namespace}:robot")
    as_robot("get", "pods", "--as", "ann", "--as-group", "team")
    admin("delete", "clusterrolebinding,clusterrole", name)


def test_edit_and_view_are_gathered_and_take_in_new_kinds(admin, as_robot, robot):
    admin("create", "rolebinding", "viewers", "--clusterrole=view", f"--serviceaccount={robot.namespace}:robot")
    as_robot("get", "deployments")
    assert "forbidden" in as_robot.run("get", "secrets").stderr
    role = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRole",
        "metadata": {"name": f"view-leases-{robot.namespace}", "labels": {f"{RBAC}/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list"]}],
    }  # fmt: skip
    assert "forbidden" in as_robot.run("get", "leases").stderr
    admin("apply", "-f", "-", given=role)
    soon(lambda: as_robot.run("get", "leases").returncode == 0)
    admin("delete", "clusterrole", role["metadata"]["name"])
    soon(lambda: "forbidden" in as_robot.run("get", "leases").stderr)


def test_nobody_grants_what_he_does_not_hold(admin, as_robot, robot):
    here = f"--serviceaccount={robot.namespace}:robot"
    admin("create", "rolebinding", "admins", "--clusterrole=admin", here)
    as_robot("create", "role", "pods", "--verb=get", "--resource=pods")
    as_robot("create", "rolebinding", "viewers", "--clusterrole=view", "--user=ann")
    told = as_robot.run("create", "rolebinding", "all", "--clusterrole=cluster-admin", "--user=ann").stderr
    assert "is attempting to grant RBAC permissions not currently held:\n" in told
    assert '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in told
    told = as_robot.run("create", "role", "status", "--verb=update", "--resource=pods/status").stderr
    assert '{APIGroups:[""], Resources:["pods/status"], Verbs:["update"]}' in told
    more = json.dumps([{"op": "add", "path": "/rules/0/verbs/-", "value": "escalate"}])
    patch = ("patch", "role", "pods", "--type=json", "-p", more)
    assert "not currently held" in as_robot.run(*patch).stderr


def test_an_apply_that_creates_needs_the_right_to_create(admin, as_robot, robot):
    admin("create", "role", "patcher", "--verb=get,patch", "--resource=configmaps")
    admin("create", "rolebinding", "patchers", "--role=patcher", f"--serviceaccount={robot.namespace}:robot")
    applying = ("apply", "--server-side", "-f", "-")
    told = as_robot.run(*applying, given=config_map()).stderr
    assert f'configmaps "c" is forbidden: User "{robot.user}" cannot create resource "configmaps"' in told
    admin(*applying, given=config_map())
    as_robot(*applying, given=config_map())


@pytest.mark.parametrize("token", ["nonsense", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."])
def test_a_forged_token_is_nobodys(data, tmp_path, token):
    found = serving(data)
    path = tmp_path / "forged"
    path.write_text(json.dumps(token_kubeconfig(found["url"], found["ca"], token, "default")))
    assert Kubectl(path).run("get", "pods").stderr == (
        "error: You must be logged in to the server (Unauthorized)\n")  # fmt: skip


def test_a_token_bound_to_a_pod_ends_with_it(admin, as_robot, robot):
    admin("apply", "-f", "-", given=pod(serviceAccountName="robot"))
    bound = ("--bound-object-kind=Pod", "--bound-object-name=p")
    token = admin("create", "token", "robot", *bound, "--duration=15m").strip()
    shown = json.loads(as_robot("auth", "whoami", "-o", "json", f"--token={token}"))["status"]["userInfo"]
    assert shown["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    admin("delete", "pod", "p", "--now")
    assert "Unauthorized" in as_robot.run("get", "pods", f"--token={token}").stderr
    as_robot("auth", "whoami")
    admin("apply", "-f", "-", given=pod())
    assert 'to pod running with serviceaccount "default"' in admin.fails("create", "token", "robot", *bound)
    assert "less than 10 minutes" in admin.fails("create", "token", "robot", "--duration=9m")


def test_a_broken_role_or_binding_is_refused_with_its_field(admin, namespace):
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "r"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []},
                      {"resources": ["pods"], "verbs": ["get"]},
                      {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}  # fmt: skip
    told = admin.fails("create", "-f", "-", given=role)
    for fault in (
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
        'rules[2].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs',
    ):
        assert fault in told
    admin("create", "rolebinding", "b", "--role=one", "--user=ann")
    change = ("patch", "rolebinding", "b", "-p", '{"roleRef": {"name": "two"}}')
    assert "cannot change roleRef" in admin.fails(*change)
    subject = {"kind": "ServiceAccount", "name": "robot"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}
    unplaced = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"b-{namespace}"},
                "subjects": [subject], "roleRef": reference}  # fmt: skip
    assert "subjects[0].namespace: Required value" in admin.fails("create", "-f", "-", given=unplaced)
