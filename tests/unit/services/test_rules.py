"""Where the address and port of a Service lead."""

from collections import Counter

import pytest
from service_builders import endpoint, endpoint_slice, service

from devcluster.services.rules import Place, Rule, cluster_address, headless_addresses, rules

FRONT = Place("10.96.0.10", 80)


def targets(*slices, of=None):
    return [place.address for place in rules([of or service()], slices)[FRONT].targets]


CASES = {
    "the ready ones": ([endpoint("10.0.0.2", ready=True), endpoint("10.0.0.3", ready=False)], ["10.0.0.2"]),
    "one of which nothing is said": ([endpoint("10.0.0.2")], ["10.0.0.2"]),
    "ending ones that serve, where none is ready": (
        [endpoint("10.0.0.2", ready=False, serving=True, terminating=True), endpoint("10.0.0.3", ready=False)],
        ["10.0.0.2"],
    ),
    "no ending one beside a ready one": (
        [endpoint("10.0.0.2", ready=False, serving=True, terminating=True), endpoint("10.0.0.3", ready=True)],
        ["10.0.0.3"],
    ),
    "no ending one that serves no more": ([endpoint("10.0.0.2", ready=False, serving=False, terminating=True)], []),
    "none": ([], []),
}


@pytest.mark.parametrize(("endpoints", "expected"), CASES.values(), ids=CASES.keys())
def test_connections_go_to(endpoints, expected):
    assert targets(endpoint_slice(*endpoints)) == expected


def test_slices_of_other_ports_services_and_families_do_not_count():
    others = [
        endpoint_slice(endpoint("10.0.0.2"), name="metrics"),
        endpoint_slice(endpoint("10.0.0.3"), service="api"),
        endpoint_slice(endpoint("fd00::1"), addressType="IPv6"),
        endpoint_slice(endpoint("10.0.0.4"), ports=[{"name": "", "port": 8000, "protocol": "UDP"}]),
    ]
    assert targets(*others) == []


def test_the_slices_of_a_service_add_up():
    slices = [endpoint_slice(endpoint("10.0.0.3"), port=9000), endpoint_slice(endpoint("10.0.0.2"))]
    assert rules([service()], slices)[FRONT].targets == (Place("10.0.0.2", 8000), Place("10.0.0.3", 9000))


def test_each_port_of_a_service_has_a_rule_of_its_own():
    ports = [
        {"name": "http", "port": 80},
        {"name": "metrics", "port": 81},
        {"port": 53, "protocol": "UDP", "name": "d"},
    ]
    slices = [endpoint_slice(endpoint("10.0.0.2"), name="metrics", port=8080)]
    found = rules([service("web", *ports)], slices)
    assert {place.port: rule.targets for place, rule in found.items()} == {80: (), 81: (Place("10.0.0.2", 8080),)}


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIP": ""}, {"type": "ExternalName"}])
def test_a_service_without_an_address_has_no_rule(spec):
    assert cluster_address(service(**spec)) == ""
    assert rules([service(**spec)], [endpoint_slice(endpoint("10.0.0.2"))]) == {}


def test_connections_take_turns():
    rule = Rule("team/web", tuple(Place(f"10.0.0.{last}", 8000) for last in range(2, 5)))
    assert Counter(rule.choose("10.0.0.9", turn).address for turn in range(30)) == {
        "10.0.0.2": 10,
        "10.0.0.3": 10,
        "10.0.0.4": 10,
    }


def test_a_sticky_client_keeps_its_target_when_another_one_goes():
    places = tuple(Place(f"10.0.0.{last}", 8000) for last in range(2, 12))
    clients = [f"10.0.1.{last}" for last in range(100)]
    before = {client: Rule("", places, sticky=True).choose(client, turn) for turn, client in enumerate(clients)}
    assert len(set(before.values())) > 5
    after = {client: Rule("", places[1:], sticky=True).choose(client, 0) for client in clients}
    assert all(after[client] == target for client, target in before.items() if target != places[0])


def test_only_client_affinity_makes_a_rule_sticky():
    assert rules([service(sessionAffinity="ClientIP")], [])[FRONT].sticky
    assert not rules([service(sessionAffinity="None")], [])[FRONT].sticky


def test_a_headless_service_leads_to_its_ready_endpoints_ending_ones_last():
    slices = [
        endpoint_slice(endpoint("10.0.0.2", ready=True, terminating=True), endpoint("10.0.0.4", ready=True)),
        endpoint_slice(endpoint("10.0.0.3"), endpoint("10.0.0.5", ready=False)),
        endpoint_slice(endpoint("10.0.0.6"), service="api"),
    ]
    assert headless_addresses(service(clusterIP="None"), slices) == ("10.0.0.3", "10.0.0.4", "10.0.0.2")
