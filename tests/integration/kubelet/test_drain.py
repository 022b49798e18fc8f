"""A node that is cordoned and drained by the real kubectl, with pods behind a Service on it."""

import asyncio

import pytest
from kubelet_team import ready, unschedulable
from web_pods import answers_by, ask

from devcluster.client import NODES, PODS, Resource

pytestmark = pytest.mark.cluster

BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")
ELSEWHERE = {
    "tolerations": [{"key": "only", "operator": "Exists"}],
    "nodeSelector": {"kubernetes.io/hostname": "node-b"},
}
LEAVE = {"preStop": {"exec": {"command": ["sleep", "2"]}}}


@pytest.fixture
async def drain(client, kubectl):
    """Runs `kubectl drain node-a` and makes the node schedulable again in the end."""

    def run(*words, timeout=30):
        options = ("--force", "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={timeout}s")
        return kubectl.run("drain", "node-a", *options, *words)

    yield run
    await client.patch(NODES, None, "node-a", {"spec": {"unschedulable": None}})


async def test_a_cordoned_node_takes_no_new_pods_and_keeps_those_it_has(team, kubectl, drain):
    await team.run("stays", "sleep", "1000")
    await team.until("stays", ready)
    kubectl("cordon", "node-a")
    assert "Ready,SchedulingDisabled" in kubectl("get", "nodes")
    await team.run("waits", "sleep", "1000")
    status = await team.until("waits", unschedulable)
    assert "1 node(s) were unschedulable" in unschedulable(status)
    assert ready((await team.get("stays"))["status"])
    kubectl("uncordon", "node-a")
    await team.until("waits", ready)


async def test_no_request_fails_while_a_node_is_drained(team, web, drain):
    address = await web.service("web", selector={"app": "web"})
    pods = {"goes": {}, "stays": ELSEWHERE}
    for name, place in pods.items():
        await web.pod(
            name, labels={"app": "web"}, container={"lifecycle": LEAVE}, terminationGracePeriodSeconds=4, **place
        )
    await answers_by(address, list(pods))
    asked, over = [], asyncio.Event()

    async def keep_asking():
        while not over.is_set():
            asked.append(await ask(address))

    asking = asyncio.create_task(keep_asking())
    done = await asyncio.to_thread(drain)
    over.set()
    await asking
    assert done.returncode == 0, done.stderr
    assert set(asked) == set(pods)
    assert set(asked[-10:]) == {"stays"}
    left, _ = await team.client.list(PODS, team.namespace)
    assert [pod["metadata"]["name"] for pod in left] == ["stays"]


async def test_a_budget_holds_a_drain_up_until_another_pod_is_ready(team, web, drain):
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}}
    await team.create(BUDGETS, "PodDisruptionBudget", "held", apiVersion="policy/v1", spec=spec)
    await team.run("held", "sleep", "1000")
    await team.until("held", ready)
    refused = await asyncio.to_thread(drain, timeout=3)
    assert refused.returncode != 0
    assert "violate the pod's disruption budget" in refused.stderr
    assert ready((await team.get("held"))["status"])
    await web.pod("another", labels={"app": "held"}, **ELSEWHERE)
    done = await asyncio.to_thread(drain)
    assert done.returncode == 0, done.stderr
    await team.until_gone("held")
