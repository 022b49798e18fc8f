"""Addresses of Services: where two clusters begin, and what is free."""

from devcluster.apiserver.service_addresses import assign_address


def given(identity, used=(), **spec):
    service = {"spec": spec}
    assign_address(service, used, identity)
    return service["spec"].get("clusterIP")


def test_a_cluster_gives_its_addresses_in_turn():
    first = given("mine")
    assert given("mine") == first
    assert given("mine", {first}) != first


def test_two_clusters_begin_at_different_places():
    assert len({given(f"cluster {number}") for number in range(100)}) == 100


def test_a_service_keeps_what_it_has_and_a_mere_name_gets_none():
    assert given("mine", clusterIP="None") == "None"
    assert given("mine", clusterIP="10.96.3.4") == "10.96.3.4"
    assert given("mine", type="ExternalName") is None
