"""Services and names: A1 of the reference."""

import pytest
from unit.kuberay.builders import cluster

from devcluster.kuberay import constants as c
from devcluster.kuberay import naming, services


def with_ports(*ports, **head):
    group = {**cluster()["spec"]["headGroupSpec"], **head}
    group["template"]["spec"]["containers"][0]["ports"] = list(ports)
    return cluster(head=group)


def ports_of(service):
    return {port["name"]: port["port"] for port in service["spec"]["ports"]}


def test_the_head_service_offers_five_ports_by_default():
    service = services.head_service(cluster())
    assert service["metadata"]["name"] == "demo-head-svc"
    assert ports_of(service) == c.DEFAULT_HEAD_PORTS
    assert [port["appProtocol"] for port in service["spec"]["ports"]] == ["tcp"] * 5


def test_a_head_that_lists_a_port_hides_the_defaults_but_metrics():
    found = services.head_service(with_ports({"name": "dashboard", "containerPort": 8265}, {"containerPort": 99}))
    assert ports_of(found) == {"99-port": 99, "dashboard": 8265, "metrics": 8080}


def test_a_metrics_port_of_the_user_is_kept():
    assert ports_of(services.head_service(with_ports({"name": "metrics", "containerPort": 9000}))) == {"metrics": 9000}


def test_the_head_service_is_headless_and_shows_heads_that_are_not_ready():
    spec = services.head_service(cluster())["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True
    assert spec["selector"][c.LABEL_NODE_TYPE] == "head"
    assert spec["selector"][c.LABEL_CLUSTER] == "demo"


def test_a_service_type_makes_it_an_ordinary_service():
    spec = services.head_service(with_ports(serviceType="NodePort"))["spec"]
    assert spec["type"] == "NodePort"
    assert "clusterIP" not in spec


def test_a_head_service_of_the_user_keeps_its_name_and_loses_its_selector():
    given = {
        "metadata": {"name": "mine", "labels": {"a": "b", c.LABEL_CLUSTER: "other"}},
        "spec": {"selector": {"x": "y"}, "type": "LoadBalancer", "ports": [{"name": "extra", "port": 1}]},
    }
    service = services.head_service(with_ports(headService=given))
    assert service["metadata"]["name"] == "mine"
    assert service["metadata"]["labels"] | {"a": "b", c.LABEL_CLUSTER: "demo"} == service["metadata"]["labels"]
    assert service["spec"]["selector"] == services.head_labels(cluster())
    assert service["spec"]["type"] == "LoadBalancer"
    assert ports_of(service) == {"extra": 1, **c.DEFAULT_HEAD_PORTS}
    assert naming.head_service_host(with_ports(headService=given)) == "mine.team.svc.cluster.local"


def test_the_serve_service_reaches_every_pod_of_the_cluster():
    service = services.serve_service(cluster())
    assert service["metadata"]["name"] == "demo-serve-svc"
    assert service["spec"]["selector"] == {c.LABEL_CLUSTER: "demo"}
    assert ports_of(service) == {"serve": 8000}


@pytest.mark.parametrize("length", [53, 60])
def test_names_fit_into_63_characters_with_the_generated_end(length):
    name = "a" * length
    assert len(naming.head_pod_prefix(name)) + 5 <= 63
    assert len(naming.worker_pod_prefix(name, "workers")) + 5 <= 63
    assert len(naming.identifier(name, "worker")) <= 63
    assert len(naming.auth_secret_name(name)) <= 50


def test_a_secret_name_never_begins_with_a_digit():
    assert naming.auth_secret_name("a" + "1" * 50) == "r" + "1" * 49


def test_the_hash_of_a_template_does_not_depend_on_key_order():
    spec = cluster()["spec"]
    turned = dict(reversed(spec.items()))
    assert naming.recreate_hash(spec) == naming.recreate_hash(turned)
