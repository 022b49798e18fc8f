"""Hostile specs on a real API server, the operator watching: refused there, or explained by a condition."""

import pytest
from hostile_specs import collected, hostile_specs, names_a_field
from integration.operator.conftest import JOBS, OperatorProcess, eventually, job

from devcluster.client import EVENTS, ApiError


async def refusal_of(client, namespace, name, spec):
    """What the API server says against the spec; None where it takes it."""
    try:
        await client.create(JOBS, namespace, {**job(name), "spec": spec})
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


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.all)])
async def test_hostile_specs_crash_nothing_and_each_is_explained(client, namespace, operator, count):
    specs = collected(hostile_specs(), count)
    answers = [await refusal_of(client, namespace, f"job-{number}", spec) for number, spec in enumerate(specs)]
    for spec, refusal in zip(specs, answers, strict=True):
        assert refusal is None or refusal.status in (400, 422), f"{refusal.status} {refusal.message}: {spec}"
        assert refusal is None or "spec" in refusal.message, f"{refusal.message}: {spec}"
    taken = answers.count(None)
    assert len(specs) == count
    assert count // 50 <= taken < count

    async def unexplained():
        jobs, _ = await client.list(JOBS, namespace)
        assert len(jobs) == taken
        return [one["metadata"]["name"] for one in jobs if not messages(one)]

    async def all_explained():
        return not await unexplained()

    await eventually(all_explained, seconds=60)
    await each_refused_job_names_a_field(client, namespace)
    assert operator.running
    assert "Traceback" not in operator.log.read_text()


async def each_refused_job_names_a_field(client, namespace):
    """In its condition and in one event; no other job has such an event."""
    jobs, _ = await client.list(JOBS, namespace)
    refused = {one["metadata"]["name"]: outcome_of(one)["message"] for one in jobs if refused_by_operator(one)}
    assert refused
    assert [message for message in refused.values() if not names_a_field(message)] == []

    async def warnings():
        events, _ = await client.list(EVENTS, namespace)
        return [event for event in events if event["reason"] == "InvalidSpec"]

    async def all_warned():
        return len(await warnings()) >= len(refused)

    await eventually(all_warned, seconds=20)
    warned = await warnings()
    assert sorted(event["involvedObject"]["name"] for event in warned) == sorted(refused)
    assert {event["type"] for event in warned} == {"Warning"}
    assert [event["message"] for event in warned if not names_a_field(event["message"])] == []


def refused_by_operator(one):
    """A spec that the API took and the operator did not."""
    return outcome_of(one)["reason"] == "InvalidSpec"


def messages(one):
    """The conditions that tell a user how the job is doing, where each of them has its words."""
    conditions = {c["type"]: c for c in one.get("status", {}).get("conditions", [])}
    told = [conditions[of] for of in ("Progressing", "Succeeded", "Finished") if of in conditions]
    return len(told) == 3 and all(condition["reason"] and condition["message"].strip() for condition in told)


def outcome_of(one):
    """The condition that says how the job ended, or that it has not."""
    return next(c for c in one["status"]["conditions"] if c["type"] == "Succeeded")
