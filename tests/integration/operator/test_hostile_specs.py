"""Hostile specs on a real API server, the operator watching: refused there, or explained by a condition."""

import json

import pytest
from hostile_specs import hostile_specs
from hypothesis import HealthCheck, Phase, given, settings
from integration.operator.conftest import JOBS, OperatorProcess, eventually, job

from devcluster.client import ApiError


def collected(count):
    """So many different hostile specs, the same in every run."""
    found = {}

    @settings(
        max_examples=count * 5 // 4,  # some come twice
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile_specs())
    def collect(spec):
        found[json.dumps(spec, sort_keys=True)] = spec

    collect()
    return list(found.values())[:count]


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
    specs = collected(count)
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
    assert operator.running
    assert "Traceback" not in operator.log.read_text()


def messages(one):
    """The conditions that tell a user how the job is doing, where each of them has its words."""
    conditions = {c["type"]: c for c in one.get("status", {}).get("conditions", [])}
    told = [conditions[of] for of in ("Progressing", "Succeeded", "Finished") if of in conditions]
    return len(told) == 3 and all(condition["reason"] for condition in told)
