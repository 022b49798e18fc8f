"""Hostile endpoints on a real API server, the operator watching: refused there, or explained by a condition."""

import pytest
from hostile_specs import ENDPOINT_SCHEMA, collected, hostile_endpoints, names_a_field
from integration.operator.conftest import OperatorProcess, eventually

from devcluster.client import EVENTS, ApiError, Resource

ENDPOINTS = Resource("tidemill.dev", "v1alpha1", "realtimeendpoints")
KINDS = ("Progressing", "Available", "Ready")


async def refusal_of(client, namespace, name, spec):
    """What the API server says against the spec; None where it takes it."""
    manifest = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "RealtimeEndpoint", "metadata": {"name": name}}
    try:
        await client.create(ENDPOINTS, namespace, {**manifest, "spec": spec})
    except ApiError as refusal:
        return refusal
    return None


@pytest.fixture
async def operator(cluster, namespace, tmp_path):
    """The operator alone: nothing acts on the RayClusters that it makes."""
    process = OperatorProcess(cluster.kubeconfig, namespace, tmp_path / "operator.log")
    await process.start()
    yield process
    if process.running:
        await process.stop()


NOT_ALLOWED = {
    "model": {"name": "m", "source": "team/m"},
    "template": {"serviceAccountName": "that-of-somebody-else"},
}
"""What every API server takes and this operator refuses: of a hundred hostile specs there need not be one."""


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.all)])
async def test_hostile_endpoints_crash_nothing_and_each_is_explained(client, namespace, operator, count):
    specs = [*collected(hostile_endpoints(), count - 1), NOT_ALLOWED]
    answers = [await refusal_of(client, namespace, f"endpoint-{number}", spec) for number, spec in enumerate(specs)]
    for spec, refusal in zip(specs, answers, strict=True):
        assert refusal is None or refusal.status in (400, 422), f"{refusal.status} {refusal.message}: {spec}"
        assert refusal is None or "spec" in refusal.message, f"{refusal.message}: {spec}"
    taken = answers.count(None)
    assert len(specs) == count
    assert count // 50 <= taken < count

    async def all_explained():
        endpoints, _ = await client.list(ENDPOINTS, namespace)
        assert len(endpoints) == taken
        return all(map(explained, endpoints))

    await eventually(all_explained, seconds=90)
    await each_refused_endpoint_names_a_field(client, namespace)
    assert operator.running
    assert "Traceback" not in operator.log.read_text()


async def each_refused_endpoint_names_a_field(client, namespace):
    """In its condition and in one Warning; no other endpoint has such a Warning."""
    endpoints, _ = await client.list(ENDPOINTS, namespace)
    doing = {one["metadata"]["name"]: condition(one, "Progressing") for one in endpoints}
    refused = {name: said["message"] for name, said in doing.items() if said["reason"] == "InvalidSpec"}
    assert refused
    assert [message for message in refused.values() if not names_a_field(message, ENDPOINT_SCHEMA)] == []

    async def warnings():
        events, _ = await client.list(EVENTS, namespace)
        return [event for event in events if event["reason"] == "InvalidSpec"]

    async def all_warned():
        return len(await warnings()) >= len(refused)

    await eventually(all_warned, seconds=20)
    warned = await warnings()
    assert sorted(event["involvedObject"]["name"] for event in warned) == sorted(refused)
    assert {(event["type"], event["involvedObject"]["kind"]) for event in warned} == {("Warning", "RealtimeEndpoint")}
    assert [event["message"] for event in warned if not names_a_field(event["message"], ENDPOINT_SCHEMA)] == []


def condition(one, of):
    return next((c for c in one.get("status", {}).get("conditions", []) if c["type"] == of), {})


def explained(one):
    """Whether each condition tells a user how the endpoint is doing."""
    told = [condition(one, of) for of in KINDS]
    return all(said.get("reason") and said.get("message", "").strip() for said in told)
