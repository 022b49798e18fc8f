"""What nft is told: shared sets without overlaps, and no word about what is not isolated."""

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_builders import any_policy

from devcluster.kubelet.network import Subnet
from devcluster.kubelet.network_policies import (
    Allowance,
    Block,
    Isolation,
    NamedPort,
    Pod,
    PortRange,
    Snapshot,
    isolations,
)
from devcluster.kubelet.packet_filter import NOTHING, pod_script, switch_script

SUBNET = Subnet(1)
POD = "10.77.1.5"


def rules(chain, script):
    prefix = f"add rule inet tidemill {chain} "
    return [line.removeprefix(prefix) for line in script.splitlines() if line.startswith(prefix)]


def accepted(*allowances):
    """The rules between those that let pass what always passes and those that drop."""
    return rules("egress", pod_script(POD, Isolation(egress=allowances), SUBNET))[5:-2]


@pytest.mark.parametrize(
    ("allowance", "expected"),
    [
        (Allowance(), ["accept"]),
        (Allowance((Block("0.0.0.0/0"),)), ["meta nfproto ipv4 accept"]),
        (Allowance((Block("10.77.1.8"), Block("10.77.1.2"))), ["ip daddr { 10.77.1.2, 10.77.1.8 } accept"]),
        (Allowance((Block("10.77.1.8"), Block("10.77.0.0/16"))), ["ip daddr { 10.77.0.0/16 } accept"]),
        (
            Allowance((Block("10.0.0.0/8", ("10.1.0.0/16", "10.1.2.0/24")), Block("10.77.1.2"))),
            ["ip daddr { 10.77.1.2 } accept", "ip daddr { 10.0.0.0/8 } ip daddr != { 10.1.0.0/16 } accept"],
        ),
        (Allowance((Block("0.0.0.0/0", ("10.1.0.0/16",)),)), ["ip daddr != { 10.1.0.0/16 } accept"]),
        (Allowance(ports=(PortRange("tcp", 80, 80), PortRange("tcp", 81, 90))), ["tcp dport { 80-90 } accept"]),
        (
            Allowance(ports=(PortRange("udp"), PortRange("udp", 53, 53), PortRange("tcp", 53, 53))),
            ["tcp dport { 53 } accept", "meta l4proto udp accept"],
        ),
    ],
)
def test_an_allowance_becomes_as_few_rules_as_it_can(allowance, expected):
    assert accepted(allowance) == expected
    assert accepted(allowance, allowance) == expected


def test_a_pod_that_is_isolated_one_way_has_no_rules_for_the_other():
    assert not rules("egress", pod_script(POD, Isolation(ingress=()), SUBNET))
    assert not rules("ingress", pod_script(POD, Isolation(egress=()), SUBNET))


def test_the_node_and_the_pod_itself_always_get_in_also_by_the_proxy_of_services():
    assert "ip saddr & 255.253.255.255 { 10.77.1.1, 10.77.1.5 } accept" in rules(
        "ingress", pod_script(POD, Isolation(ingress=()), SUBNET)
    )


def test_the_switch_judges_whom_it_speaks_for_and_nobody_else():
    judged = {POD: Isolation(egress=(Allowance((Block("10.77.1.2"),)),)), "10.77.1.6": Isolation(ingress=())}
    script = switch_script(judged, SUBNET)
    assert "ip saddr vmap { 10.79.1.5 : goto pod5 }" in rules("egress", script)
    assert rules("pod5", script)[:2] == ["ip daddr 10.77.1.5 accept", "ip daddr { 10.77.1.2 } accept"]
    assert switch_script({"10.77.1.6": Isolation(ingress=())}, SUBNET) == ""


def test_an_address_and_its_stand_in_know_each_other():
    assert SUBNET.stand_in(POD) == "10.79.1.5"
    assert SUBNET.own("10.79.1.5") == POD
    assert SUBNET.own("10.79.2.5") == "10.79.2.5"
    assert (SUBNET.holds(POD), SUBNET.holds("10.79.1.5"), SUBNET.holds("10.77.11.5")) == (True, False, False)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="asks nft(8), which needs root")
@given(st.lists(any_policy, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_nft_takes_what_any_policies_lead_to(policies):
    ports = (NamedPort("http", "tcp", 8000), NamedPort("dns", "udp", 53))
    labels = ({"role": "db"}, {"role": "frontend", "tier": "gpu"}, {"role": "worker"})
    pods = tuple(Pod("team", SUBNET.address(2 + at), one, ports[:at]) for at, one in enumerate(labels))
    found = isolations(Snapshot(tuple(policies), pods, {"team": {}}))
    scripts = [pod_script(address, one, SUBNET) for address, one in found.items()]
    for script in (NOTHING, *scripts, switch_script(found, SUBNET) or NOTHING):
        done = subprocess.run(
            ["unshare", "--net", "nft", "--check", "--file", "-"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stderr}\n{script}"
