"""NetworkPolicies are enforced between real pods, from their first packet on, through Services too."""

import asyncio
import socket

import pytest
import pytest_asyncio
from kubelet_team import eventually
from policy_team import Neighbours
from web_pods import ask

from devcluster.client import NAMESPACES, NETWORK_POLICIES, PODS
from devcluster.kubelet import network, packet_filter

OWN = [{"podSelector": {}}]


@pytest_asyncio.fixture
async def neighbours(web):
    obstacle = await packet_filter.obstacle(network.subnet_of(web.team.kubelet.state))
    if obstacle:
        pytest.skip(obstacle)
    return Neighbours(web)


async def three(neighbours):
    return await asyncio.gather(*(neighbours.pod(name) for name in ("server", "friend", "stranger")))


async def test_a_default_deny_keeps_all_pods_away_and_the_node_reaches_them_still(neighbours):
    server, friend, _ = await three(neighbours)
    await neighbours.reached(friend, server)
    await neighbours.allow("deny")
    await neighbours.kept_away(friend, server)
    assert await ask(f"{server}:8000") == "server"
    await neighbours.reached(server, server)
    await neighbours.forget("deny")
    await neighbours.reached(friend, server)


async def test_ingress_is_allowed_by_pod_and_by_the_name_of_a_port(neighbours):
    server, friend, stranger = await three(neighbours)
    friends = [{"podSelector": {"matchLabels": {"app": "friend"}}}]
    ingress = [{"from": friends, "ports": [{"port": "http"}]}]
    await neighbours.allow("friends", podSelector={"matchLabels": {"app": "server"}}, ingress=ingress)
    await neighbours.kept_away(stranger, server)
    await neighbours.reached(friend, server)
    await neighbours.kept_away(friend, server, port=8001)
    await neighbours.reached(server, stranger)


async def test_ingress_is_allowed_by_the_labels_of_a_namespace(neighbours, client):
    server, friend, _ = await three(neighbours)
    ingress = [{"from": [{"namespaceSelector": {"matchLabels": {"may": "ask"}}}]}]
    await neighbours.allow("labelled", ingress=ingress)
    await neighbours.kept_away(friend, server)
    await client.patch(NAMESPACES, None, neighbours.web.team.namespace, {"metadata": {"labels": {"may": "ask"}}})
    await neighbours.reached(friend, server)


async def test_egress_is_allowed_by_pod(neighbours):
    server, friend, stranger = await three(neighbours)
    egress = [{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}]}]
    about = {"podSelector": {"matchLabels": {"app": "friend"}}, "policyTypes": ["Egress"]}
    await neighbours.allow("outwards", **about, egress=egress)
    await neighbours.kept_away(friend, stranger)
    await neighbours.reached(friend, server)
    await neighbours.reached(stranger, friend)


async def test_a_pod_behind_a_service_judges_the_one_who_asks_and_not_the_proxy(neighbours):
    server, friend, stranger = await three(neighbours)
    address = await neighbours.web.service("front", selector={"app": "server"})
    await neighbours.reached(stranger, address, 80)
    ingress = [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}]
    await neighbours.allow("friends", podSelector={"matchLabels": {"app": "server"}}, ingress=ingress)
    await neighbours.kept_away(stranger, address, 80, judged=(server, 8000))
    await neighbours.reached(friend, address, 80)
    await neighbours.reached(server, address, 80)
    assert await ask(address) == "server"


async def test_egress_through_a_service_is_judged_by_the_pod_behind_it(neighbours):
    _, friend, stranger = await three(neighbours)
    allowed = await neighbours.web.service("allowed", selector={"app": "server"})
    forbidden = await neighbours.web.service("forbidden", selector={"app": "stranger"})
    egress = [{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": 8000}]}]
    about = {"podSelector": {"matchLabels": {"app": "friend"}}, "policyTypes": ["Egress"]}
    await neighbours.allow("outwards", **about, egress=egress)
    await neighbours.kept_away(friend, forbidden, 80, judged=(stranger, 8000))
    await neighbours.reached(friend, allowed, 80)


async def test_an_open_connection_survives_what_happens_to_others_and_even_a_new_isolation(neighbours):
    server, friend, stranger = await three(neighbours)
    with neighbours.inside(friend) as thread:
        connection = await asyncio.wrap_future(thread.submit(socket.create_connection, (server, 8000), 20))
    with connection:
        assert await asyncio.to_thread(_ask_again, connection)
        await neighbours.allow("own", ingress=[{"from": OWN}])
        await neighbours.pod("newcomer")
        assert await asyncio.to_thread(_ask_again, connection)
        await neighbours.allow("deny")
        await neighbours.forget("own")
        await neighbours.kept_away(stranger, server)
        assert await asyncio.to_thread(_ask_again, connection)


FIRST_PACKET = """
import os, socket, time
try:
    socket.create_connection((os.environ["SERVER"], 8000), timeout=1).close()
except OSError:
    print("kept away")
else:
    print("reached")
time.sleep(60)
"""


@pytest.mark.parametrize(("allowed", "outcome"), [("nobody", "kept away"), ("first", "reached")])
async def test_the_first_packet_of_a_new_pod_is_judged_and_it_is_known_to_the_others(neighbours, allowed, outcome):
    server = await neighbours.pod("server")
    to_server = {"matchLabels": {"app": "server"}}
    first = {"matchLabels": {"app": allowed}}
    await neighbours.allow("deny", policyTypes=["Ingress", "Egress"])
    await neighbours.allow("in", podSelector=to_server, ingress=[{"from": [{"podSelector": first}]}])
    egress = [{"to": [{"podSelector": to_server}]}]
    await neighbours.allow("out", podSelector=first, policyTypes=["Egress"], egress=egress)
    team = neighbours.web.team
    container = {"env": [{"name": "SERVER", "value": server}]}
    await team.run("first", "python", "-uc", FIRST_PACKET, container=container)

    async def said():
        found = await team.get("first")
        return (found.get("status") or {}).get("phase") == "Running" and (await team.log("first")).strip()

    await eventually(said, 20)
    assert (await team.log("first")).split("\n")[0].endswith(outcome)


async def test_a_kubelet_that_comes_back_enforces_what_changed_meanwhile(neighbours, client):
    server, friend, _ = await three(neighbours)
    await neighbours.allow("deny")
    await neighbours.kept_away(friend, server)
    kubelet = neighbours.web.team.kubelet
    kubelet.kill()
    await neighbours.forget("deny")
    kubelet.start()
    await neighbours.reached(friend, server)
    pods, _ = await client.list(PODS, neighbours.web.team.namespace)
    policies, _ = await client.list(NETWORK_POLICIES, neighbours.web.team.namespace)
    assert (len(pods), policies) == (3, [])


def _ask_again(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
    answer = b""
    while not answer.endswith(b"server"):
        part = connection.recv(4096)
        if not part:
            return False
        answer += part
    return True
