"""Services on a real network: what is written about them, and where connections to their addresses go."""

import asyncio
import secrets
import signal
import time

import aiohttp
import pytest
from kubelet_team import eventually
from web_pods import answers, answers_by, ask, ip, routes

from devcluster.client import ENDPOINT_SLICES, ENDPOINTS, EVENTS, PODS, SERVICES, NotFound
from devcluster.services.addresses import PROTOCOL
from devcluster.services.proxy import RETRY_SECONDS

pytestmark = pytest.mark.cluster


async def test_a_services_address_is_spread_over_its_ready_pods_whatever_their_port_is(web, kubectl):
    address = await web.service("web", selector={"app": "web"})
    addresses = [await web.pod(name, labels={"app": "web"}, port=port) for name, port in (("a", 8000), ("b", 9000))]
    await answers_by(address, ["a", "b"])
    assert sorted(await answers(address, 10)) == ["a"] * 5 + ["b"] * 5
    shown = kubectl("get", "endpoints", "web", "-n", web.namespace, "--no-headers").split()[1]
    assert sorted(shown.split(",")) == sorted([f"{addresses[0]}:8000", f"{addresses[1]}:9000"])
    described = kubectl("describe", "service", "web", "-n", web.namespace)
    assert f"{addresses[0]}:8000" in described
    slices, _ = await web.client.list(ENDPOINT_SLICES, web.namespace, "kubernetes.io/service-name=web")
    assert sorted(port["port"] for one in slices for port in one["ports"]) == [8000, 9000]


async def test_what_stands_as_it_should_is_not_written_again_and_what_was_changed_is_mended(web):
    address = await web.service("web", selector={"app": "web"})
    await web.pod("a", labels={"app": "web"})
    await answers_by(address, ["a"])
    kinds = ENDPOINT_SLICES, ENDPOINTS

    async def stored():
        return [(await web.client.list(kind, web.namespace))[0] for kind in kinds]

    before = await stored()
    await web.tell("a", message="an update that changes nothing of this")
    await asyncio.sleep(0.3)
    assert await stored() == before
    await web.client.patch(ENDPOINTS, web.namespace, "web", {"subsets": None})
    for one in before[0]:
        await web.client.delete(ENDPOINT_SLICES, web.namespace, one["metadata"]["name"])

    async def mended():
        slices, (endpoints,) = await stored()
        found = [one["endpoints"] for one in slices], endpoints.get("subsets")
        return found == ([one["endpoints"] for one in before[0]], before[1][0]["subsets"])

    await eventually(mended, 5)
    await answers_by(address, ["a"])


async def test_a_pod_that_is_not_ready_gets_no_connections(web):
    address = await web.service("web", selector={"app": "web"})
    for name in "ab":
        await web.pod(name, labels={"app": "web"})
    await answers_by(address, ["a", "b"])
    await web.tell("b", ready=False)
    await answers_by(address, ["a"])
    await web.tell("b")
    await answers_by(address, ["a", "b"])


async def test_a_pod_being_deleted_finishes_its_connections_and_gets_no_more(web):
    address = await web.service("web", selector={"app": "web"})
    for name in ("goes", "stays"):
        await web.pod(name, labels={"app": "web"})
    await answers_by(address, ["goes", "stays"])
    busy = [asyncio.create_task(ask(address, "/slow")) for _ in range(2)]
    await asyncio.sleep(0.3)
    await web.client.delete(PODS, web.namespace, "goes")
    await answers_by(address, ["stays"])
    await web.tell("stays", ready=False)
    await answers_by(address, ["goes"])  # it still serves, and nothing else does
    assert await asyncio.gather(*busy) == ["." * 20] * 2


async def test_pods_reach_addresses_too_and_a_port_that_nobody_serves_is_refused(web):
    address = await web.service("web", selector={"app": "web"})
    pod = await web.pod("a", labels={"app": "web"})
    await answers_by(address, ["a"])
    assert await fetched(web, pod, address) == "a"
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(f"{address}:81")


async def test_a_changed_selector_counts_at_once_and_open_connections_finish(web):
    address = await web.service("web", selector={"version": "old"})
    await web.pod("old", labels={"version": "old"})
    await web.pod("new", labels={"version": "new"})
    await answers_by(address, ["old"])
    slow = asyncio.create_task(ask(address, "/slow"))
    await asyncio.sleep(0.3)
    patch = {"spec": {"selector": {"version": "new"}}}
    changed = time.monotonic()
    await web.client.patch(SERVICES, web.namespace, "web", patch)
    await answers_by(address, ["new"])
    assert time.monotonic() - changed < 1
    assert set(await answers(address, 10)) == {"new"}
    assert await slow == "." * 20


async def test_no_request_fails_while_the_selector_moves_to_and_fro(web):
    address = await web.service("web", selector={"version": "old"})
    await web.pod("old", labels={"version": "old"}, port=8000)
    await web.pod("new", labels={"version": "new"}, port=9000)
    await answers_by(address, ["old"])
    asked, over = [], asyncio.Event()

    async def keep_asking():
        while not over.is_set():
            asked.append(await ask(address))

    asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
    for version in ("new", "old") * 5:
        patch = {"spec": {"selector": {"version": version}}}
        await web.client.patch(SERVICES, web.namespace, "web", patch)
        await asyncio.sleep(0.1)
    over.set()
    await asyncio.gather(*asking)
    assert set(asked) == {"old", "new"}


async def test_without_endpoints_a_connection_is_refused_and_a_deleted_service_is_gone(web):
    address = await web.service("web", selector={"app": "web"})
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(address)
    await web.pod("a", labels={"app": "web"})
    await answers_by(address, ["a"])
    await web.client.delete(SERVICES, web.namespace, "web")

    async def gone():
        return address not in await routes()

    await eventually(gone, 5)

    async def unlisted():
        try:
            await web.client.get(ENDPOINTS, web.namespace, "web")
        except NotFound:
            slices, _ = await web.client.list(ENDPOINT_SLICES, web.namespace)
            return not slices
        return False

    await eventually(unlisted, 5)


async def test_a_service_without_a_selector_follows_the_slices_that_others_write(web):
    address = await web.service("web", selector={})
    pod = await web.pod("a", labels={"app": "web"})
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8000, "protocol": "TCP"}],
        "endpoints": [{"addresses": [pod], "conditions": {"ready": True}}],
    }
    await web.client.create(ENDPOINT_SLICES, web.namespace, body)
    await answers_by(address, ["a"])


async def test_a_killed_program_takes_every_service_up_again(web, services):
    address = await web.service("web", selector={"app": "web"})
    gone = await web.service("gone", selector={"app": "web"})
    await web.pod("a", labels={"app": "web"})
    await answers_by(address, ["a"])
    services.kill(signal.SIGKILL)
    try:
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(address)
        await web.client.delete(SERVICES, web.namespace, "gone")
    finally:
        services.start()
    await answers_by(address, ["a"])
    assert address in await routes()
    assert gone not in await routes()


async def told(web, reason):
    """The message of an event of the namespace."""
    found = []

    async def there():
        events, _ = await web.client.list(EVENTS, web.namespace)
        found.extend(event["message"] for event in events if event["reason"] == reason)
        return found

    await eventually(there, 5)
    return found[0]


FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


async def fetched(web, pod, address):
    """What a program in a pod gets from an address."""
    client = web.run(pod, "-c", FETCH, f"http://{address}")
    output, _ = await asyncio.to_thread(client.communicate, timeout=10)
    return output.strip()


async def test_an_address_that_this_machine_leads_elsewhere_is_told_and_works_for_pods(web):
    address = f"10.111.{secrets.randbelow(256)}.{secrets.randbelow(256)}"
    await ip("route", "add", "unreachable", address, "proto", PROTOCOL)
    try:
        await web.service("web", selector={"app": "web"}, clusterIP=address)
        assert f"this machine leads {address} elsewhere" in await told(web, "AddressNotServed")
        pod = await web.pod("a", labels={"app": "web"})
        assert await fetched(web, pod, address) == "a"
    finally:
        await ip("route", "delete", "unreachable", address)
    await asyncio.sleep(RETRY_SECONDS)
    await answers_by(address, ["a"])
