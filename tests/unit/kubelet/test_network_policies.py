"""Which pods may talk to which, by tables after Kubernetes' reference, and properties that hold for any policies."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pod_builders import container
from policy_builders import any_policy, policy

from devcluster.kubelet.network_policies import Isolation, NamedPort, Pod, Snapshot, isolations, named_ports, problem

HTTP = NamedPort("http", "tcp", 8000)
DATABASE = Pod("team", "10.77.1.2", {"role": "db"}, (NamedPort("http", "tcp", 6379), NamedPort("dns", "udp", 53)))
FRONTEND = Pod("team", "10.77.1.3", {"role": "frontend"}, (HTTP,))
WORKER = Pod("team", "10.77.1.4", {"role": "worker", "tier": "gpu"})
OTHER_FRONTEND = Pod("other", "10.77.1.5", {"role": "frontend"}, (HTTP._replace(number=9000),))
OTHER_WORKER = Pod("other", "10.77.1.6", {"role": "worker"})
PODS = {"db": DATABASE, "frontend": FRONTEND, "worker": WORKER, "other-frontend": OTHER_FRONTEND}
PODS["other-worker"] = OTHER_WORKER
NAMESPACES = {"team": {"project": "own", "kubernetes.io/metadata.name": "team"}, "other": {"project": "strange"}}

ROLE_DB = {"podSelector": {"matchLabels": {"role": "db"}}}
ROLE_FRONTEND = {"podSelector": {"matchLabels": {"role": "frontend"}}}
STRANGE = {"namespaceSelector": {"matchLabels": {"project": "strange"}}}


def snapshot(*policies):
    return Snapshot(tuple(policies), tuple(PODS.values()), NAMESPACES)


def covers(allowance, address, protocol, port):
    at_peer = allowance.blocks is None or any(block.covers(address) for block in allowance.blocks)
    to_port = allowance.ports is None or any(
        one.protocol == protocol and one.first <= port <= one.last for one in allowance.ports
    )
    return at_peer and to_port


def passes(policies, sender, receiver, port=6379, protocol="tcp"):
    """Whether a connection passes both ends; ends are names of pods or addresses."""
    found = isolations(snapshot(*policies))
    ends = [PODS[end].address if end in PODS else end for end in (sender, receiver)]
    egress = found.get(ends[0], Isolation()).egress
    ingress = found.get(ends[1], Isolation()).ingress
    out = egress is None or any(covers(one, ends[1], protocol, port) for one in egress)
    return out and (ingress is None or any(covers(one, ends[0], protocol, port) for one in ingress))


def who_reaches(receiver, *policies, port=6379, protocol="tcp"):
    return {name for name in PODS if name != receiver and passes(policies, name, receiver, port, protocol)}


def reached_by(sender, *policies, port=6379, protocol="tcp"):
    return {name for name in PODS if name != sender and passes(policies, sender, name, port, protocol)}


EVERYONE = {"frontend", "worker", "other-frontend", "other-worker"}


@pytest.mark.parametrize(
    ("peers", "expected"),
    {
        "podSelector: pods of the policy's namespace": ([ROLE_FRONTEND], {"frontend"}),
        "empty podSelector: all of the namespace": ([{"podSelector": {}}], {"frontend", "worker"}),
        "namespaceSelector: all pods there": ([STRANGE], {"other-frontend", "other-worker"}),
        "empty namespaceSelector: all pods anywhere": ([{"namespaceSelector": {}}], EVERYONE),
        "both in one peer: pods of that label there": ([{**STRANGE, **ROLE_FRONTEND}], {"other-frontend"}),
        "both in two peers: either": ([STRANGE, ROLE_FRONTEND], {"frontend", "other-frontend", "other-worker"}),
        "empty namespaceSelector and a podSelector": (
            [{"namespaceSelector": {}, **ROLE_FRONTEND}],
            {"frontend", "other-frontend"},
        ),
        "a peer that says nothing": ([{}], set()),
        "a selector nobody fits": ([{"podSelector": {"matchLabels": {"role": "none"}}}], set()),
        "no peers: everyone": ([], EVERYONE),
        "peers left out: everyone": (None, EVERYONE),
        "ipBlock": ([{"ipBlock": {"cidr": "10.77.1.2/31"}}], {"frontend"}),
        "ipBlock with bits beyond its length": ([{"ipBlock": {"cidr": "10.77.1.9/24"}}], EVERYONE),
        "ipBlock with except": (
            [{"ipBlock": {"cidr": "10.77.0.0/16", "except": ["10.77.1.4/31"]}}],
            {"frontend", "other-worker"},
        ),
        "ipBlock of the other family": ([{"ipBlock": {"cidr": "fd00::/8"}}], set()),
    }.values(),
)
def test_peers_mean_what_the_reference_says(peers, expected):
    rule = {} if peers is None else {"from": peers}
    assert who_reaches("db", policy(**ROLE_DB, ingress=[rule])) == expected


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        ([{"key": "role", "operator": "In", "values": ["frontend", "worker"]}], {"frontend", "worker"}),
        ([{"key": "role", "operator": "NotIn", "values": ["frontend"]}], {"worker"}),
        ([{"key": "tier", "operator": "NotIn", "values": ["gpu"]}], {"frontend"}),
        ([{"key": "tier", "operator": "Exists"}], {"worker"}),
        ([{"key": "tier", "operator": "DoesNotExist"}], {"frontend"}),
        ([{"key": "tier", "operator": "Exists"}, {"key": "role", "operator": "In", "values": ["frontend"]}], set()),
    ],
)
def test_expressions_of_a_selector_all_have_to_hold(expressions, expected):
    rule = {"from": [{"podSelector": {"matchExpressions": expressions}}]}
    assert who_reaches("db", policy(**ROLE_DB, ingress=[rule])) == expected


@pytest.mark.parametrize(
    ("ports", "open_ports"),
    [
        (None, {("tcp", 53), ("tcp", 6379), ("tcp", 6380), ("udp", 53), ("sctp", 53)}),
        ([{"port": 6379}], {("tcp", 6379)}),
        ([{"port": 53, "protocol": "UDP"}], {("udp", 53)}),
        ([{"protocol": "UDP"}], {("udp", 53)}),
        ([{"port": 53, "protocol": "SCTP"}], {("sctp", 53)}),
        ([{"port": 6379, "endPort": 6380}], {("tcp", 6379), ("tcp", 6380)}),
        ([{"port": "http"}], {("tcp", 6379)}),
        ([{"port": "dns"}], set()),
        ([{"port": "dns", "protocol": "UDP"}, {"port": "no-such"}], {("udp", 53)}),
        ([{"port": "no-such"}], set()),
    ],
)
def test_ports_are_meant_by_number_range_protocol_and_name(ports, open_ports):
    rule = {"from": [ROLE_FRONTEND]} | ({"ports": ports} if ports else {})
    asked = [("tcp", 53), ("tcp", 6379), ("tcp", 6380), ("udp", 53), ("sctp", 53)]
    policies = [policy(**ROLE_DB, ingress=[rule])]
    assert {at for at in asked if passes(policies, "frontend", "db", at[1], at[0])} == open_ports


def test_the_documentations_example_holds():
    """The first of kubernetes.io/docs/concepts/services-networking/network-policies, with this network's addresses."""
    block = {"ipBlock": {"cidr": "10.77.0.0/16", "except": ["10.77.1.6/32"]}}
    ingress = [{"from": [block, STRANGE, ROLE_FRONTEND], "ports": [{"protocol": "TCP", "port": 6379}]}]
    egress = [{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 5978}]}]
    example = policy(**ROLE_DB, policyTypes=["Ingress", "Egress"], ingress=ingress, egress=egress)
    assert who_reaches("db", example) == EVERYONE
    assert who_reaches("db", example, port=6380) == set()
    assert reached_by("db", example) == set()
    assert passes([example], "db", "10.0.0.9", 5978)
    assert not passes([example], "db", "10.0.1.9", 5978)
    assert passes([example], "frontend", "worker")


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    {
        "nothing said: ingress": ({}, False, True),
        "a rule for egress: both": ({"egress": [{}]}, False, True),
        "an empty list for egress is no rule": ({"egress": []}, False, True),
        "a rule for egress that allows little": ({"egress": [{"ports": [{"port": 1}]}]}, False, False),
        "egress only": ({"policyTypes": ["Egress"]}, True, False),
        "both denied": ({"policyTypes": ["Ingress", "Egress"]}, False, False),
        "ingress rules of an egress policy do not count": ({"policyTypes": ["Egress"], "ingress": []}, True, False),
        "all allowed": ({"ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}, True, True),
    }.values(),
)
def test_the_directions_of_a_policy_are_those_it_says_or_the_usual_ones(spec, ingress, egress):
    about_db = policy(**ROLE_DB, **spec)
    assert (passes([about_db], "frontend", "db"), passes([about_db], "db", "frontend")) == (ingress, egress)


def test_a_policy_is_about_pods_of_its_own_namespace_only():
    assert isolations(snapshot(policy(namespace="other"))).keys() == {OTHER_FRONTEND.address, OTHER_WORKER.address}


def test_policies_add_up():
    of_frontends = policy("a", **ROLE_DB, ingress=[{"from": [ROLE_FRONTEND]}])
    of_strangers = policy("b", **ROLE_DB, ingress=[{"from": [STRANGE]}])
    assert who_reaches("db", of_frontends, of_strangers, policy("c")) == {"frontend", "other-frontend", "other-worker"}


def test_a_named_port_outwards_is_that_of_each_pod():
    egress = [{"to": [{"namespaceSelector": {}}], "ports": [{"port": "http"}]}]
    about_worker = policy(podSelector={"matchLabels": {"role": "worker"}}, policyTypes=["Egress"], egress=egress)
    by_port = {port: reached_by("worker", about_worker, port=port) for port in (6379, 8000, 9000)}
    assert by_port == {6379: {"db"}, 8000: {"frontend"}, 9000: {"other-frontend"}}


def test_named_ports_are_those_of_containers_that_run_beside_each_other():
    beside = container("proxy", restartPolicy="Always", ports=[{"name": "proxy", "containerPort": 1}])
    before = container("before", ports=[{"name": "before", "containerPort": 2}])
    main = container(ports=[{"name": "dns", "containerPort": 53, "protocol": "UDP"}, {"containerPort": 4}])
    pod = {"spec": {"initContainers": [before, beside], "containers": [main]}}
    assert named_ports(pod) == (NamedPort("dns", "udp", 53), NamedPort("proxy", "tcp", 1))


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, ""),
        ({"cidr": "10.0.0.0/99"}, "10.0.0.0/99"),
        ({"cidr": "10.0.0.0/8", "except": ["ten"]}, "ten"),
    ],
)
def test_a_block_that_is_none_is_a_problem(block, complaint):
    for direction, key in (("ingress", "from"), ("egress", "to")):
        told = problem(policy(**{direction: [{key: [{"ipBlock": block}]}]}))
        assert complaint in told
        assert bool(told) == bool(complaint)


CONNECTIONS = [
    (sender, receiver, port, protocol)
    for sender in PODS
    for receiver in PODS
    for port, protocol in ((53, "udp"), (6379, "tcp"), (8000, "tcp"))
    if sender != receiver
]


def passing(policies):
    found = isolations(snapshot(*policies))
    assert found.keys() <= {pod.address for pod in PODS.values()}
    return {one for one in CONNECTIONS if passes(policies, *one)}


@given(st.lists(any_policy, max_size=3), any_policy, st.booleans())
def test_a_rule_added_to_a_policy_never_forbids(policies, changed, inwards):
    more = copy.deepcopy(changed)
    direction, key = ("ingress", "from") if inwards else ("egress", "to")
    more["spec"].setdefault(direction, []).append({key: [{"namespaceSelector": {}}]})
    if "policyTypes" not in changed["spec"]:  # else the first rule for egress isolates, as the reference says
        for one in (changed, more):
            one["spec"]["policyTypes"] = ["Ingress", "Egress"]
    assert passing([*policies, changed]) <= passing([*policies, more])


@given(st.lists(any_policy, max_size=4))
def test_a_policy_that_allows_everything_to_everyone_undoes_all_others(policies):
    open_to_all = {"ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}
    both = [policy("open", namespace, **open_to_all) for namespace in ("team", "other")]
    assert passing([*policies, *both]) == set(CONNECTIONS)


@given(st.lists(any_policy, max_size=4), st.randoms())
def test_the_order_of_policies_says_nothing(policies, random):
    shuffled = random.sample(policies, len(policies))
    assert passing(policies) == passing(shuffled)


@given(any_policy)
def test_a_policy_forbids_nothing_to_pods_it_does_not_select(one):
    selected = isolations(snapshot(one)).keys()
    free = {name for name, pod in PODS.items() if pod.address not in selected}
    assert {at for at in CONNECTIONS if {at[0], at[1]} <= free} <= passing([one])


def test_without_policies_everything_passes():
    assert isolations(snapshot()) == {}
