"""NetworkPolicies: what the server adds, and what it refuses as Kubernetes does."""

import pytest
from policy_builders import policy

from devcluster.apiserver.network_policy_rules import default_policy, policy_causes

BLOCK = {"ipBlock": {"cidr": "10.0.0.0/8"}}


def wrong(**spec):
    return [(cause.field, cause.message) for cause in policy_causes(policy(**spec))]


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": [{}], "policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_the_directions_are_written_down(spec, types):
    given = policy(**spec)
    default_policy(given)
    assert given["spec"]["policyTypes"] == types


def test_the_protocol_of_a_port_is_written_down_and_what_is_no_policy_is_left_to_the_schema():
    given = policy(ingress=[{"ports": [{"port": 80}, {"protocol": "UDP"}]}, 3], egress=[{"ports": "all"}])
    default_policy(given)
    assert given["spec"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}, {"protocol": "UDP"}]
    default_policy({"spec": "none"})
    default_policy({})


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"policyTypes": ["Both"]}, "spec.policyTypes[0]", 'Unsupported value: "Both"'),
        ({"policyTypes": ["Ingress"] * 3}, "spec.policyTypes", "may not specify more than two policyTypes"),
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]", "Required value: must specify a peer"),
        ({"egress": [{"to": [{**BLOCK, "podSelector": {}}]}]}, "spec.egress[0].to[0]", "both ipBlock and another peer"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}, "spec.ingress[0].from[0].ipBlock.cidr", "valid"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]}, "spec.ingress[0].from[0].ipBlock.cidr", "99"),
        ({"ingress": [{"ports": [{"port": 0}]}]}, "spec.ingress[0].ports[0].port", "between 1 and 65535"),
        ({"ingress": [{"ports": [{"port": "Http"}]}]}, "spec.ingress[0].ports[0].port", "a-z"),
        ({"ingress": [{"ports": [{"port": "--"}]}]}, "spec.ingress[0].ports[0].port", "a-z"),
        ({"ingress": [{"ports": [{"protocol": "ICMP"}]}]}, "spec.ingress[0].ports[0].protocol", "ICMP"),
        ({"ingress": [{"ports": [{"port": 9, "endPort": 8}]}]}, "spec.ingress[0].ports[0].endPort", "greater than"),
        ({"ingress": [{"ports": [{"port": "http", "endPort": 8}]}]}, "spec.ingress[0].ports[0].endPort", "non-numeric"),
        ({"ingress": [{"ports": [{"endPort": 8}]}]}, "spec.ingress[0].ports[0].endPort", "`port` is not specified"),
    ],
)
def test_what_kubernetes_refuses_is_refused_by_the_name_of_the_field(spec, field, message):
    ((told_of, told),) = wrong(**spec)
    assert told_of == field
    assert message in told


@pytest.mark.parametrize(
    ("cidr", "excepted", "refused"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", False),
        ("10.0.0.0/8", "10.0.0.0/8", True),
        ("10.0.0.0/8", "11.0.0.0/16", True),
        ("10.0.0.0/8", "fd00::/8", True),
        ("::/0", "fe80::/10", False),
        ("10.0.0.0/8", "ten", True),
    ],
)
def test_an_exception_lies_within_its_block(cidr, excepted, refused):
    told = wrong(egress=[{"to": [{"ipBlock": {"cidr": cidr, "except": [excepted]}}]}])
    assert [field for field, _ in told] == ["spec.egress[0].to[0].ipBlock.except[0]"] * refused


def test_what_the_reference_shows_is_no_fault():
    peers = [{"namespaceSelector": {}, "podSelector": {}}, BLOCK]
    ports = [{"port": 32000, "endPort": 32768}, {"port": "http"}, {"protocol": "UDP"}]
    assert wrong(ingress=[{"from": peers, "ports": ports}, {}], policyTypes=["Ingress", "Egress"]) == []
