"""EndpointSlices and Endpoints, from Services and Pods."""

import copy

import pytest
from pod_builders import container
from service_builders import LATER, backend, service

from devcluster.services.endpoints import LARGEST_SLICE, Writes, endpoint_slices, endpoints, writes

NAMED = {"port": 80, "targetPort": "http", "name": "web"}


def conditions(pods, **spec):
    """The conditions of every endpoint, by address."""
    return {
        one["addresses"][0]: tuple(one["conditions"][name] for name in ("ready", "serving", "terminating"))
        for found in endpoint_slices(service(**spec), pods)
        for one in found["endpoints"]
    }


def ports(pods, *wanted):
    """The port numbers of every slice with the addresses behind them."""
    return {
        tuple(port["port"] for port in found["ports"]): [one["addresses"][0] for one in found["endpoints"]]
        for found in endpoint_slices(service("web", *wanted), pods)
    }


CASES = {
    "a ready pod": (backend("a", "10.0.0.2"), {"10.0.0.2": (True, True, False)}),
    "one that is not ready": (backend("a", "10.0.0.2", ready=False), {"10.0.0.2": (False, False, False)}),
    "one being deleted": (backend("a", "10.0.0.2", deletionTimestamp=LATER), {"10.0.0.2": (False, True, True)}),
    "one being deleted that is not ready": (
        backend("a", "10.0.0.2", deletionTimestamp=LATER, ready=False),
        {"10.0.0.2": (False, False, True)},
    ),
    "not one that has ended": (backend("a", "10.0.0.2", phase="Failed"), {}),
    "not one without an address": (backend("a", ""), {}),
    "not one with other labels": (backend("a", "10.0.0.2", labels={"app": "api"}), {}),
}


@pytest.mark.parametrize(("pod", "expected"), CASES.values(), ids=CASES.keys())
def test_a_slice_tells(pod, expected):
    assert conditions([pod]) == expected


def test_a_service_that_publishes_addresses_early_calls_every_pod_ready():
    pods = [backend("a", "10.0.0.2", ready=False), backend("b", "10.0.0.3", deletionTimestamp=LATER)]
    told = conditions(pods, publishNotReadyAddresses=True)
    assert told == {"10.0.0.2": (True, False, False), "10.0.0.3": (True, True, True)}


def test_a_named_port_is_looked_up_in_each_pod():
    pods = [
        backend("a", "10.0.0.2", ports=[{"name": "http", "containerPort": 8000}]),
        backend("b", "10.0.0.3", ports=[{"name": "http", "containerPort": 9000}]),
        backend("c", "10.0.0.4", ports=[{"name": "http", "containerPort": 8000}]),
        backend("d", "10.0.0.5", ports=[{"name": "http", "containerPort": 8000, "protocol": "UDP"}]),
    ]
    assert ports(pods, NAMED) == {(8000,): ["10.0.0.2", "10.0.0.4"], (9000,): ["10.0.0.3"], (): ["10.0.0.5"]}


def test_a_named_port_of_a_sidecar_is_found():
    beside = container("proxy", restartPolicy="Always", ports=[{"name": "http", "containerPort": 8443}])
    assert ports([backend("a", "10.0.0.2", initContainers=[beside])], NAMED) == {(8443,): ["10.0.0.2"]}


def test_a_port_without_a_target_is_the_pods_own():
    assert ports([backend("a", "10.0.0.2")], {"port": 80}) == {(80,): ["10.0.0.2"]}


def test_a_service_without_pods_has_one_empty_slice():
    (only,) = endpoint_slices(service(), [])
    assert (only["endpoints"], only["ports"]) == ([], [])
    assert endpoints(service(), [])["subsets"] == []


@pytest.mark.parametrize("spec", [{"selector": {}}, {"type": "ExternalName"}])
def test_a_service_that_selects_nothing_is_left_to_others(spec):
    assert endpoint_slices(service(**spec), [backend("a", "10.0.0.2")]) == []
    assert endpoints(service(**spec), [backend("a", "10.0.0.2")]) is None


def test_a_slice_says_whose_it_is():
    (found,) = endpoint_slices(service(labels={"team": "red"}, clusterIP="None"), [backend("a", "10.0.0.2")])
    labels = found["metadata"]["labels"]
    assert labels["kubernetes.io/service-name"] == "web"
    assert labels["team"] == "red"
    assert "service.kubernetes.io/headless" in labels
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Service", "web", "uid-web")
    (only,) = found["endpoints"]
    assert only["targetRef"] == {"kind": "Pod", "namespace": "team", "name": "a", "uid": "uid-a"}
    assert only["nodeName"] == "node-a"


def test_many_pods_are_spread_over_slices_of_bounded_size():
    pods = [backend(f"p{number:03}", f"10.0.0.{number}") for number in range(2 * LARGEST_SLICE + 1)]
    found = endpoint_slices(service(), pods)
    assert sorted(len(one["endpoints"]) for one in found) == [1, LARGEST_SLICE, LARGEST_SLICE]
    assert len({one["metadata"]["name"] for one in found}) == 3


def test_endpoints_tell_ready_pods_from_others_and_know_no_ending_ones():
    pods = [
        backend("a", "10.0.0.2"),
        backend("b", "10.0.0.3", ready=False),
        backend("c", "10.0.0.4", deletionTimestamp=LATER),
    ]
    (subset,) = endpoints(service(), pods)["subsets"]
    assert [one["ip"] for one in subset["addresses"]] == ["10.0.0.2"]
    assert [one["ip"] for one in subset["notReadyAddresses"]] == ["10.0.0.3"]
    assert subset["ports"] == [{"name": "", "port": 8000, "protocol": "TCP"}]


def test_endpoints_leave_out_a_pod_without_the_port():
    assert endpoints(service("web", NAMED), [backend("a", "10.0.0.2")])["subsets"] == []


def test_a_headless_service_needs_no_ports():
    headless = service(clusterIP="None")
    headless["spec"]["ports"] = []
    (subset,) = endpoints(headless, [backend("a", "10.0.0.2")])["subsets"]
    assert [one["ip"] for one in subset["addresses"]] == ["10.0.0.2"]


def stored(objects, revision="7"):
    found = copy.deepcopy(objects)
    for one in found:
        one["metadata"] |= {"resourceVersion": revision, "uid": f"uid-{one['metadata']['name']}"}
    return found


def test_what_stands_as_wanted_is_not_written():
    wanted = endpoint_slices(service(), [backend("a", "10.0.0.2")])
    assert writes(wanted, stored(wanted)) == Writes()


def test_only_what_differs_is_written_on_the_revision_it_was_decided_on():
    before = stored(endpoint_slices(service(), [backend("a", "10.0.0.2")]))
    todo = writes(endpoint_slices(service(), [backend("a", "10.0.0.2", ready=False)]), before)
    assert (todo.create, todo.delete) == ((), ())
    assert [one["metadata"]["resourceVersion"] for one in todo.replace] == ["7"]


def test_what_nobody_wants_any_more_is_deleted_unless_another_manages_it():
    ours = stored(endpoint_slices(service(), [backend("a", "10.0.0.2")]))
    theirs = copy.deepcopy(ours)
    theirs[0]["metadata"] |= {"name": "theirs", "labels": {"kubernetes.io/service-name": "web"}}
    assert writes([], ours + theirs) == Writes(delete=tuple(ours))
