"""The CRD of endpoints on a real API server: what is refused and how it is said, columns, and kubectl scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from unit.api.endpoint_specs import BAD, GOOD, SPEC, UNKNOWN_FIELDS, EndpointCase

from devcluster.client import ApiError, Client, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDPOINTS = Resource("tidemill.dev", "v1alpha1", "realtimeendpoints")


def endpoint(spec: Mapping[str, Any], name: str = "chat") -> dict[str, Any]:
    metadata = {"name": name}
    return {"apiVersion": "tidemill.dev/v1alpha1", "kind": "RealtimeEndpoint", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("case", [c for c in BAD if c.name not in UNKNOWN_FIELDS], ids=lambda case: case.name)
async def test_a_bad_spec_is_refused_and_said(client: Client, namespace: str, case: EndpointCase) -> None:
    with pytest.raises(ApiError) as refusal:
        await client.create(ENDPOINTS, namespace, endpoint(case.spec))
    assert refusal.value.status == 422
    assert case.message in str(refusal.value)


async def test_good_specs_are_taken(client: Client, namespace: str) -> None:
    for number, case in enumerate(GOOD):
        await client.create(ENDPOINTS, namespace, endpoint(case.spec, f"chat-{number}"))


async def test_a_name_that_no_service_may_have_is_refused(client: Client, namespace: str) -> None:
    with pytest.raises(ApiError) as refusal:
        await client.create(ENDPOINTS, namespace, endpoint(SPEC, "chat.v1"))
    assert "metadata.name becomes the name of the Service" in str(refusal.value)


async def test_kubectl_get_says_whether_it_is_up_how_large_and_how_busy(
    client: Client, namespace: str, kubectl: Any
) -> None:
    await client.create(ENDPOINTS, namespace, endpoint(SPEC))
    when = "2026-01-02T03:04:05Z"
    conditions = [
        {"type": "Progressing", "status": "False", "reason": "Settled", "lastTransitionTime": when},
        {"type": "Available", "status": "True", "reason": "ReplicasRunning", "lastTransitionTime": when},
        {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": when},
    ]
    status = {
        "conditions": conditions,
        "url": "http://chat.team.svc/v1",
        "replicas": 3,
        "readyReplicas": 2,
        "queue": {"depth": 41, "oldestAgeSeconds": 1, "ageRatio": "0.62", "health": "Healthy"},
    }
    await client.patch(ENDPOINTS, namespace, "chat", {"status": status}, subresource="status")
    header, row = kubectl("get", "rte", "-n", namespace).splitlines()
    shown = ["NAME", "MODEL", "READY", "STATUS", "REPLICAS", "RUNNING", "QUEUE", "HEALTH", "URL", "AGE"]
    assert header.split() == shown
    assert row.split()[:9] == ["chat", "smollm2", "True", "Settled", "3", "2", "41", "Healthy", status["url"]]
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "rte/chat", "--timeout=5s")


async def test_kubectl_scale_raises_the_floor_and_no_further_than_the_roof(
    client: Client, namespace: str, kubectl: Any
) -> None:
    await client.create(ENDPOINTS, namespace, endpoint({**SPEC, "replicas": {"min": 1, "max": 4}}))
    kubectl("scale", "-n", namespace, "rte/chat", "--replicas=3")
    assert (await client.get(ENDPOINTS, namespace, "chat"))["spec"]["replicas"] == {"min": 3, "max": 4}
    refused = kubectl.run("scale", "-n", namespace, "rte/chat", "--replicas=5")
    assert refused.returncode
    assert "replicas.min must not be above replicas.max" in refused.stderr
