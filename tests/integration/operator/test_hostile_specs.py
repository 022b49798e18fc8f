"""Hostile specs of both kinds on a real API server, the operator watching: refused there, or explained in words."""

from dataclasses import dataclass

import pytest
from hostile_specs import ENDPOINT_SCHEMA, collected, hostile_endpoints, hostile_specs, names_a_field
from integration.operator.conftest import JOBS, OperatorProcess, eventually
from unit.api.test_schema_properties import SCHEMA

from devcluster.client import EVENTS, ApiError, Resource


@dataclass(frozen=True)
class Kind:
    """A kind, the conditions that tell a user how one is doing, and the one that says that its spec is refused."""

    name: str
    resource: Resource
    schema: dict
    told: tuple[str, ...]
    verdict: str

    def conditions(self, one):
        return {found["type"]: found for found in one.get("status", {}).get("conditions", [])}

    def is_explained(self, one):
        found = self.conditions(one)
        return all(of in found and found[of]["reason"] and found[of]["message"].strip() for of in self.told)

    def refusal_by_the_operator(self, one):
        """What is said of a spec that the API took and the operator did not; None where it did."""
        said = self.conditions(one)[self.verdict]
        return said["message"] if said["reason"] == "InvalidSpec" else None


JOB = Kind("BatchInferenceJob", JOBS, SCHEMA, ("Progressing", "Succeeded", "Finished"), "Succeeded")
ENDPOINT = Kind(
    "RealtimeEndpoint",
    Resource("tidemill.dev", "v1alpha1", "realtimeendpoints"),
    ENDPOINT_SCHEMA,
    ("Progressing", "Available", "Ready"),
    "Progressing",
)

NOT_ALLOWED = {
    "model": {"name": "m", "source": "team/m"},
    "template": {"serviceAccountName": "that-of-somebody-else"},
}
"""An endpoint that every API server takes and this operator refuses: of a hundred others there need not be one."""

JOB_NOT_ALLOWED = NOT_ALLOWED | {
    "input": {"uri": "https://files.example.com/rows.jsonl"},
    "output": {"uri": "s3://answers/rows/"},
    "completionWindow": "4h",
}
"""Such a job."""


@pytest.fixture
async def operator(account, namespace, tmp_path):
    """The operator alone: nothing acts on the RayClusters that it makes."""
    process = OperatorProcess(account.kubeconfig, namespace, tmp_path / "operator.log")
    await process.start()
    yield process
    if process.running:
        await process.stop()


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.all)])
async def test_hostile_jobs_crash_nothing_and_each_is_explained(client, namespace, operator, count):
    specs = [*collected(hostile_specs(), count - 1), JOB_NOT_ALLOWED]
    await each_is_refused_or_explained(client, namespace, JOB, specs)
    assert operator.running
    assert "Traceback" not in operator.log.read_text()


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.all)])
async def test_hostile_endpoints_crash_nothing_and_each_is_explained(client, namespace, operator, count):
    specs = [*collected(hostile_endpoints(), count - 1), NOT_ALLOWED]
    await each_is_refused_or_explained(client, namespace, ENDPOINT, specs)
    assert operator.running
    assert "Traceback" not in operator.log.read_text()


async def each_is_refused_or_explained(client, namespace, kind, specs):
    answers = [
        await refusal_of(client, namespace, kind, f"hostile-{number}", spec) for number, spec in enumerate(specs)
    ]
    for spec, refusal in zip(specs, answers, strict=True):
        assert refusal is None or refusal.status in (400, 422), f"{refusal.status} {refusal.message}: {spec}"
        assert refusal is None or "spec" in refusal.message, f"{refusal.message}: {spec}"
    taken = answers.count(None)
    assert len(specs) // 50 <= taken < len(specs)

    stays = {
        f"hostile-{number}"
        for number, (spec, refusal) in enumerate(zip(specs, answers, strict=True))
        if refusal is None and spec.get("ttlSecondsAfterFinished") is None
    }
    """One with a time to live may have ended and gone, as it asked to."""

    async def all_explained():
        standing, _ = await client.list(kind.resource, namespace)
        assert stays <= {one["metadata"]["name"] for one in standing}
        return all(map(kind.is_explained, standing))

    await eventually(all_explained, seconds=90)
    await each_refused_one_names_a_field(client, namespace, kind)


async def refusal_of(client, namespace, kind, name, spec):
    """What the API server says against the spec; None where it takes it."""
    manifest = {"apiVersion": "tidemill.dev/v1alpha1", "kind": kind.name, "metadata": {"name": name}, "spec": spec}
    try:
        await client.create(kind.resource, namespace, manifest)
    except ApiError as refusal:
        return refusal
    return None


async def each_refused_one_names_a_field(client, namespace, kind):
    """In its condition and in one Warning; no other one has such a Warning."""
    standing, _ = await client.list(kind.resource, namespace)
    said = {one["metadata"]["name"]: kind.refusal_by_the_operator(one) for one in standing}
    refused = {name: message for name, message in said.items() if message is not None}
    assert refused
    assert [message for message in refused.values() if not names_a_field(message, kind.schema)] == []

    async def warnings():
        events, _ = await client.list(EVENTS, namespace)
        return [event for event in events if event["reason"] == "InvalidSpec"]

    async def all_warned():
        return len(await warnings()) >= len(refused)

    await eventually(all_warned, seconds=20)
    warned = await warnings()
    assert sorted(event["involvedObject"]["name"] for event in warned) == sorted(refused)
    assert {(event["type"], event["involvedObject"]["kind"]) for event in warned} == {("Warning", kind.name)}
    assert [event["message"] for event in warned if not names_a_field(event["message"], kind.schema)] == []
