"""What the operator would never run is refused by the API server, with the same judgement; what it might is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from reserved_specs import ALLOWED, ENDPOINTS, JOBS

from devcluster.client import ApiError, Client, Resource
from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
from tidemill_operator.core.endpoint.spec_checks import endpoint_problems
from tidemill_operator.core.spec_checks import SpecPolicy, problems

if TYPE_CHECKING:
    from api_specs import Case

BATCH = Resource("tidemill.dev", "v1alpha1", "batchinferencejobs")
REALTIME = Resource("tidemill.dev", "v1alpha1", "realtimeendpoints")


def named(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tidemill.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def told(refusal: ApiError, case: Case) -> str:
    details: Any = refusal.details
    causes = [(cause["field"], cause["message"]) for cause in details["causes"]]
    return next((message for field, message in causes if field == f"spec.{case.at}" and case.message in message), "")


@pytest.mark.parametrize("case", JOBS, ids=lambda case: case.name)
async def test_a_job_that_uses_what_is_reserved_is_refused(client: Client, namespace: str, case: Case) -> None:
    assert problems(BatchInferenceJobSpec.model_validate(case.spec), SpecPolicy()), "as the operator judges it"
    with pytest.raises(ApiError) as refusal:
        await client.create(BATCH, namespace, named("BatchInferenceJob", "job", case.spec))
    assert refusal.value.status == 422
    assert told(refusal.value, case), refusal.value


@pytest.mark.parametrize("case", ENDPOINTS, ids=lambda case: case.name)
async def test_an_endpoint_that_uses_what_is_reserved_is_refused(client: Client, namespace: str, case: Case) -> None:
    assert endpoint_problems("chat", RealtimeEndpointSpec.model_validate(case.spec), SpecPolicy())
    with pytest.raises(ApiError) as refusal:
        await client.create(REALTIME, namespace, named("RealtimeEndpoint", "chat", case.spec))
    assert refusal.value.status == 422
    assert told(refusal.value, case), refusal.value


async def test_what_only_looks_like_it_is_taken(client: Client, namespace: str) -> None:
    for number, case in enumerate(ALLOWED):
        await client.create(BATCH, namespace, named("BatchInferenceJob", f"job-{number}", case.spec))
