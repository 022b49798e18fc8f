"""Services before real pods: readiness, names and the end of a pod. The rest is in `integration/services`."""

import asyncio
from pathlib import Path

import pytest
from kubelet_team import phase, ready
from web_pods import answers, answers_by, ask

pytestmark = pytest.mark.cluster


async def test_a_pod_that_is_not_ready_gets_no_connections(team, web):
    address = await web.service("web", selector={"app": "web"})
    await web.pod("a", labels={"app": "web"})
    await web.pod("b", labels={"app": "web"})
    await answers_by(address, ["a", "b"])
    process = await team.process("b")
    await asyncio.to_thread(Path(f"/proc/{process['pid']}/root/tmp/unready").touch)
    await team.until("b", lambda status: not ready(status))
    await answers_by(address, ["a"])


FETCH = """
import socket, sys, urllib.request
namespace = sys.argv[1]
for name in ("web", f"web.{namespace}", f"web.{namespace}.svc", f"web.{namespace}.svc.cluster.local"):
    print(socket.gethostbyname(name), urllib.request.urlopen(f"http://{name}").read().decode())
print(*sorted({entry[4][0] for entry in socket.getaddrinfo("each", 8000)}))
try:
    socket.create_connection(("web", 81), 5)
except ConnectionRefusedError:
    print("refused")
"""


async def test_pods_reach_services_by_name_and_the_pods_of_a_headless_one(team, web):
    address = await web.service("web", selector={"app": "web"})
    await web.service("each", selector={"app": "web"}, clusterIP="None")
    pods = [(await web.pod(name, labels={"app": "web"}))["podIP"] for name in "ab"]
    await answers_by(address, ["a", "b"])
    await team.run("client", "python", "-c", FETCH, team.namespace, restartPolicy="Never")
    await team.until("client", phase("Succeeded"))
    lines = (await team.log("client")).splitlines()
    assert {line.split()[0] for line in lines[:4]} == {address}
    assert [line.split()[1] for line in lines[:4]] == ["a", "b", "a", "b"]
    assert sorted(lines[4].split()) == sorted(pods)
    assert lines[5] == "refused"


async def test_a_deleted_pod_finishes_its_connections_and_gets_no_more(team, web):
    address = await web.service("web", selector={"app": "web"})
    await web.pod("stays", labels={"app": "web"})
    stop = {"preStop": {"exec": {"command": ["sleep", "3"]}}}
    await web.pod("goes", labels={"app": "web"}, container={"lifecycle": stop}, terminationGracePeriodSeconds=5)
    await answers_by(address, ["stays", "goes"])
    busy = [asyncio.create_task(ask(address, "/slow")) for _ in range(2)]
    await asyncio.sleep(0.3)
    await team.delete("goes")
    await asyncio.sleep(0.3)
    assert set(await answers(address, 10)) == {"stays"}
    assert await asyncio.gather(*busy) == ["." * 20] * 2
