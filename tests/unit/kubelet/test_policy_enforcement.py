"""Enforcement writes no more than it must, tries again what failed, and says where it cannot. nft is played."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from kubelet_team import eventually
from pod_builders import pod
from policy_builders import policy

from devcluster.cache import Cache
from devcluster.client import NETWORK_POLICIES, PODS
from devcluster.kubelet import network, packet_filter, policy_enforcement
from devcluster.kubelet.network import NetworkError, Subnet
from devcluster.kubelet.policy_enforcement import PolicyEnforcement

SUBNET = Subnet(1)


@dataclass
class ApiServer:
    """Tells watches what there is, and then what a test says."""

    policies: list = field(default_factory=list)
    changes: asyncio.Queue = field(default_factory=asyncio.Queue)

    async def watch(self, resource, *_):
        present = {PODS: [pod("a", nodeName="node"), pod("b", nodeName="node")], NETWORK_POLICIES: self.policies}
        for one in present.get(resource, []):
            yield "ADDED", one
        yield "SYNCED", {}
        while resource == NETWORK_POLICIES:
            yield await self.changes.get()
        await asyncio.Event().wait()


@dataclass
class Nft:
    """Plays nft(8): keeps each namespace's last script, and fails where it is told to."""

    obstacle: str = ""
    failing: set = field(default_factory=set)
    written: list = field(default_factory=list)

    async def apply(self, namespace, script):
        self.written.append(namespace)
        if namespace in self.failing:
            raise NetworkError("nft: no")

    async def find_obstacle(self, _subnet):
        return self.obstacle


@pytest.fixture
def nft(monkeypatch):
    played = Nft()
    monkeypatch.setattr(packet_filter, "apply", played.apply)
    monkeypatch.setattr(packet_filter, "obstacle", played.find_obstacle)
    monkeypatch.setattr(network, "connected", lambda *_: True)
    monkeypatch.setattr(policy_enforcement, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(policy_enforcement, "RETRY_SECONDS", 0.01)
    return played


@contextlib.asynccontextmanager
async def enforcing(server, told=None):
    """Enforcement in two new sandboxes, of the pods a and b, once the start is over."""
    recorder = SimpleNamespace(record=lambda obj, event: (told if told is not None else []).append((obj, event)))
    sandboxes = SimpleNamespace(subnet=SUBNET, known={})
    async with Cache(server, PODS) as pods:
        enforcement = PolicyEnforcement(server, recorder, sandboxes, pods, {"node"})
        for last, name in ((2, "a"), (3, "b")):
            sandboxes.known[f"uid-{name}"] = SimpleNamespace(address=SUBNET.address(last), name=name)
        async with enforcement.watching():
            task = asyncio.create_task(enforcement.run())
            yield enforcement
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(check):
    async def satisfied():
        return check()

    await eventually(satisfied, 5)


async def test_without_policies_no_pod_is_written_for_and_old_rules_of_the_switch_go(nft):
    async with enforcing(ApiServer()) as enforcement:
        for _ in range(3):
            await enforcement.admit("uid-a")
    assert nft.written == ["tmd1"]


async def test_a_change_is_written_once_and_only_where_it_is_one(nft):
    server = ApiServer([policy(podSelector={}, policyTypes=["Egress"])])
    async with enforcing(server) as enforcement:
        await enforcement.admit("uid-a")
        assert sorted(nft.written) == ["tmd1", "tmd1-2", "tmd1-3"]
        nft.written.clear()
        for _ in range(3):
            enforcement.touch()
            await enforcement.admit("uid-b")
        assert nft.written == []
        server.changes.put_nowait(("ADDED", policy("other", namespace="elsewhere")))
        server.changes.put_nowait(("ADDED", policy("more", ingress=[{}])))
        await until(lambda: len(nft.written) == 2)
        assert sorted(nft.written) == ["tmd1-2", "tmd1-3"]


async def test_a_pod_does_not_start_while_its_rules_fail_and_they_are_tried_again(nft):
    nft.failing = {"tmd1-2"}
    async with enforcing(ApiServer([policy()])) as enforcement:
        with pytest.raises(NetworkError, match="packet filter"):
            await enforcement.admit("uid-a")
        await enforcement.admit("uid-b")
        nft.failing.clear()
        before = nft.written.count("tmd1-2")
        await until(lambda: nft.written.count("tmd1-2") > before)
        await enforcement.admit("uid-a")
    assert nft.written.count("tmd1-3") == 1


async def test_a_machine_that_cannot_filter_says_so_in_the_log_once_and_on_each_policy(nft, caplog):
    nft.obstacle = "no nft here"
    told = []
    server = ApiServer([policy("first"), policy("second")])
    async with enforcing(server, told) as enforcement:
        for _ in range(3):
            await enforcement.admit("uid-a")
        server.changes.put_nowait(("ADDED", policy("third")))
        await until(lambda: len(told) == 3)
        await enforcement.admit("uid-b")
    assert [obj["metadata"]["name"] for obj, _ in told] == ["first", "second", "third"]
    assert {(obj["kind"], event.kind, event.reason) for obj, event in told} == {
        ("NetworkPolicy", "Warning", "NotEnforced")
    }
    assert [one.message for one in caplog.records] == ["NetworkPolicies are NOT enforced: no nft here"]
    assert nft.written == []


async def test_a_policy_that_cannot_be_read_is_told_and_harms_no_other(nft):
    told = []
    wrong = policy("wrong", ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}])
    async with enforcing(ApiServer([policy("right", policyTypes=["Egress"]), wrong]), told) as enforcement:
        await enforcement.admit("uid-a")
    ((obj, event),) = told
    assert (obj["metadata"]["name"], event.reason) == ("wrong", "Invalid")
    assert "10.0.0.0/99" in event.message
    assert sorted(nft.written) == ["tmd1", "tmd1-2", "tmd1-3"]
