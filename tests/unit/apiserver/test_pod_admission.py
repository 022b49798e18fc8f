"""What admission gives a new Pod, and what it refuses."""

import pytest

from devcluster.apiserver import writes
from devcluster.apiserver.bootstrap import create_initial_objects, ensure_default_account
from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.pod_admission import TOKEN_FOLDER
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.store import Store


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(Store(tmp_path / "objects.sqlite3", 100), Registry(built_in_resources()))
    create_initial_objects(made)
    ensure_default_account(made, "default")
    yield made
    made.store.close()


def create(cluster, plural, document, *, group="", namespace="default"):
    resource = cluster.registry.find(group, "v1", plural)
    where = namespace if resource.namespaced else ""
    return writes.create(cluster, Target(resource, where), document, WriteOptions(field_manager="test"))


def pod(cluster, *, volume_mounts=(), **spec):
    main = {"name": "main", "image": "any", "volumeMounts": list(volume_mounts)}
    document = {"metadata": {"name": "web"}, "spec": {"containers": [main], **spec}}
    return create(cluster, "pods", document)["spec"]


def refused(cluster, **spec):
    with pytest.raises(StatusError) as raised:
        pod(cluster, **spec)
    assert raised.value.code == 403
    return raised.value.message


def account(cluster, **fields):
    create(cluster, "serviceaccounts", {"metadata": {"name": "robot"}, **fields})


def priority_class(cluster, name, value, **fields):
    create(
        cluster, "priorityclasses", {"metadata": {"name": name}, "value": value, **fields}, group="scheduling.k8s.io"
    )


def test_a_pod_gets_its_accounts_token_authority_and_namespace(cluster):
    spec = pod(cluster)
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    (volume,) = spec["volumes"]
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount == {"name": volume["name"], "mountPath": TOKEN_FOLDER, "readOnly": True}
    assert volume["name"].startswith("kube-api-access-")
    token, authority, namespace = volume["projected"]["sources"]
    assert token == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    assert authority["configMap"]["name"] == "kube-root-ca.crt"
    assert namespace["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] == "metadata.namespace"


@pytest.mark.parametrize(
    ("of_account", "of_pod", "mounted"),
    [({}, {}, True), ({"automountServiceAccountToken": False}, {}, False),
     ({}, {"automountServiceAccountToken": False}, False),
     ({"automountServiceAccountToken": False}, {"automountServiceAccountToken": True}, True)],
)  # fmt: skip
def test_the_pods_wish_goes_before_the_accounts(cluster, of_account, of_pod, mounted):
    account(cluster, **of_account)
    assert bool(pod(cluster, serviceAccountName="robot", **of_pod).get("volumes")) is mounted


def test_a_containers_own_volume_at_that_place_stays(cluster):
    own = {"name": "own", "mountPath": TOKEN_FOLDER}
    spec = pod(cluster, volume_mounts=[own], volumes=[{"name": "own", "emptyDir": {}}])
    assert [volume["name"] for volume in spec["volumes"]] == ["own"]


def test_an_account_that_is_missing_is_an_error(cluster):
    told = refused(cluster, serviceAccountName="ghost")
    assert told == (
        'pods "web" is forbidden: error looking up service account default/ghost: serviceaccount "ghost" not found'
    )


def test_a_pod_gets_the_priority_of_its_class(cluster):
    priority_class(cluster, "high", 1000, preemptionPolicy="Never")
    spec = pod(cluster, priorityClassName="high")
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")


def test_a_pod_without_a_class_gets_the_default_one(cluster):
    assert pod(cluster)["priority"] == 0
    cluster.store.delete(cluster.registry.find("", "v1", "pods").key("default", "web"))
    priority_class(cluster, "usual", 7, globalDefault=True)
    spec = pod(cluster)
    assert (spec["priority"], spec["priorityClassName"]) == (7, "usual")


def test_the_classes_of_the_system_are_there(cluster):
    assert pod(cluster, priorityClassName="system-node-critical")["priority"] == 2_000_001_000


def test_an_unknown_class_and_an_own_number_are_refused(cluster):
    assert refused(cluster, priorityClassName="ghost") == (
        'pods "web" is forbidden: no PriorityClass with name ghost was found'
    )
    assert "the integer value of priority (5) must not be provided in pod spec" in refused(cluster, priority=5)


def restrict(cluster, mode, level="restricted"):
    create(
        cluster, "namespaces", {"metadata": {"name": "team", "labels": {f"pod-security.kubernetes.io/{mode}": level}}}
    )


POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "main", "image": "any"}]}}


def test_a_pod_that_breaks_the_enforced_level_is_refused(cluster):
    restrict(cluster, "enforce")
    with pytest.raises(StatusError) as raised:
        create(cluster, "pods", POD, namespace="team")
    assert raised.value.code == 403
    start = 'pods "web" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false ('
    assert raised.value.message.startswith(start)


@pytest.mark.parametrize(("plural", "group"), [("pods", ""), ("deployments", "apps")])
def test_what_breaks_the_warned_level_is_warned_of(cluster, plural, group):
    restrict(cluster, "warn")
    resource = cluster.registry.find(group, "v1", plural)
    options = WriteOptions(field_manager="test")
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": POD["spec"]}
    workload = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    writes.create(cluster, Target(resource, "team"), workload if group else POD, options)
    (warning,) = options.warnings
    assert warning.startswith('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (')
