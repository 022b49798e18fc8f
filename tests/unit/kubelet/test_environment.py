"""Commands and environments, as Kubernetes resolves them."""

import pytest
from pod_builders import container, pod

from devcluster.kubelet.environment import (
    ConfigError,
    PodFacts,
    api_server_environment,
    command_line,
    expand,
    references,
    resolve,
)
from devcluster.kubelet.images import Image

FACTS = PodFacts(
    "10.77.1.2",
    "10.77.1.1",
    {"cpu": "4", "memory": "8Gi"},
    {("Secret", "token"): {"key": b"s3cret"}, ("ConfigMap", "settings"): {"A": b"1", "B": b"2"}},
)
POD = pod("web", labels={"ray.io/group": "head"}, nodeName="node-a", serviceAccountName="robot")


def resolved(*env, env_from=(), **fields):
    spec = container(env=list(env), envFrom=list(env_from), **fields)
    return resolve(spec, POD, FACTS, {"BASE": "here"})


def value_from(**source):
    return resolved({"name": "X", "valueFrom": source}).get("X")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)-$(B)", "1-2"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
    ],
)
def test_names_in_parentheses_are_expanded(text, expected):
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "team"),
        ("metadata.uid", "uid-web"),
        ("metadata.labels['ray.io/group']", "head"),
        ("metadata.labels['absent']", ""),
        ("spec.nodeName", "node-a"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.77.1.2"),
        ("status.hostIP", "10.77.1.1"),
    ],
)
def test_fields_of_the_pod(path, expected):
    assert value_from(fieldRef={"fieldPath": path}) == expected


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", None, "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", None, "1"),
        ("limits.memory", "1Mi", "8192"),
        ("requests.memory", None, "0"),
    ],
    ids=["rounded up", "in thousandths", "request", "the node's, without a limit", "nothing asked"],
)
def test_resources_of_the_container(resource, divisor, expected):
    reference = {"resource": resource} | ({"divisor": divisor} if divisor else {})
    resources = {"limits": {"cpu": "1500m"}, "requests": {"cpu": "250m"}}
    env = {"name": "X", "valueFrom": {"resourceFieldRef": reference}}
    assert resolved(env, resources=resources)["X"] == expected


def test_later_variables_see_earlier_ones_and_replace_the_base():
    env = [{"name": "BASE", "value": "there"}, {"name": "X", "value": "$(BASE)/$(Y)"}, {"name": "Y", "value": "y"}]
    assert resolved(*env) == {"BASE": "there", "X": "there/$(Y)", "Y": "y"}


def test_whole_config_maps_come_in_with_a_prefix_and_env_wins():
    source = {"prefix": "P_", "configMapRef": {"name": "settings"}}
    assert resolved({"name": "P_A", "value": "mine"}, env_from=[source]) == {"BASE": "here", "P_A": "mine", "P_B": "2"}


def test_secrets_by_key():
    assert value_from(secretKeyRef={"name": "token", "key": "key"}) == "s3cret"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"secretKeyRef": {"name": "absent", "key": "k"}}, 'secret "absent" not found'),
        ({"configMapKeyRef": {"name": "absent", "key": "k"}}, 'configmap "absent" not found'),
        ({"secretKeyRef": {"name": "token", "key": "k"}}, "couldn't find key k in Secret team/token"),
        ({"fieldRef": {"fieldPath": "status.phase"}}, "status.phase is not offered"),
        ({"fileKeyRef": {}}, "not offered"),
    ],
)
def test_what_is_missing_is_named(source, told):
    with pytest.raises(ConfigError, match=told) as raised:
        value_from(**source)
    assert raised.value.reason == "CreateContainerConfigError"


def test_optional_references_may_be_missing():
    assert value_from(secretKeyRef={"name": "absent", "key": "k", "optional": True}) is None
    assert value_from(configMapKeyRef={"name": "settings", "key": "k", "optional": True}) is None
    assert resolved(env_from=[{"secretRef": {"name": "absent", "optional": True}}]) == {"BASE": "here"}


def test_references_are_all_found():
    spec = container(
        envFrom=[{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
        env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}}, {"name": "Y", "value": "y"}],
    )
    assert set(references(spec)) == {("ConfigMap", "a"), ("Secret", "b"), ("Secret", "c")}


def test_commands_and_arguments_are_one_line_of_words():
    spec = container(command=["/bin/bash", "-c", "--"], args=["echo $(X) $X"])
    assert command_line(spec, {"X": "1 2"}, None) == ("/bin/bash", "-c", "--", "echo 1 2 $X")


IMAGE = Image(entrypoint=("serve",), command=("--all",))


@pytest.mark.parametrize(
    ("fields", "image", "expected"),
    [
        ({}, IMAGE, ("serve", "--all")),
        ({"args": ["--one"]}, IMAGE, ("serve", "--one")),
        ({"command": ["look"]}, IMAGE, ("look",)),
        ({"command": ["look"], "args": ["up"]}, None, ("look", "up")),
        ({"args": ["sh"]}, Image(command=("other",)), ("sh",)),
    ],
)
def test_what_the_spec_leaves_out_is_the_images(fields, image, expected):
    assert command_line({"name": "main", "image": "any", **fields}, {}, image) == expected


def test_an_unknown_image_without_a_command_cannot_be_pulled():
    with pytest.raises(ConfigError, match=r"the dev cluster pulls none.*give the container a command") as raised:
        command_line({"name": "main", "image": "nginx"}, {}, None)
    assert raised.value.reason == "ErrImagePull"


def test_a_pod_is_told_where_the_api_server_is():
    service = {"spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}}
    assert api_server_environment(service) == {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    }
    assert api_server_environment(None) == {}
