"""The CRD on an API server refuses what the types refuse, in the same words, and kubectl shows jobs well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_spec_changes import EDITABLE, FROZEN
from api_specs import BAD, DOUBLED, GOOD, SPEC, UNKNOWN, Case

from devcluster.client import ApiError, Client, Resource
from tidemill_api import GROUP, VERSION
from tidemill_api.v1alpha1.batch_inference_job import KIND, PLURAL, BatchInferenceJobSpec

EXAMPLES = Path(__file__).parents[3] / "hack" / "examples"
JOBS = Resource(GROUP, VERSION, PLURAL)
ETA = "2026-01-02T04:00:00Z"


def job(spec: dict[str, Any], name: str = "job") -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": name}, "spec": spec}


def said(refusal: ApiError, field: str) -> str:
    """What the API server says about a field of the spec; fails where it says nothing."""
    details: Any = refusal.details
    causes = {cause["field"]: cause["message"] for cause in details["causes"]}
    assert f"spec.{field}" in causes, refusal.message
    return str(causes[f"spec.{field}"])


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
async def test_a_bad_spec_is_refused_and_its_field_named(client: Client, namespace: str, case: Case) -> None:
    with pytest.raises(ApiError) as refusal:
        await client.create(JOBS, namespace, job(case.spec))
    assert (refusal.value.status, refusal.value.reason) == (422, "Invalid")
    assert case.message in said(refusal.value, case.at)


@pytest.mark.parametrize("case", DOUBLED, ids=lambda case: case.name)
async def test_what_stands_twice_is_refused(client: Client, namespace: str, case: Case) -> None:
    with pytest.raises(ApiError) as refusal:
        await client.create(JOBS, namespace, job(case.spec))
    assert "Duplicate value" in said(refusal.value, case.at)


@pytest.mark.parametrize("case", UNKNOWN, ids=lambda case: case.name)
def test_kubectl_refuses_what_is_unknown(kubectl: Any, namespace: str, case: Case) -> None:
    done = kubectl.run("apply", "-n", namespace, "-f", "-", given=job(case.spec))
    assert done.returncode == 1
    assert f'unknown field "spec.{case.path}"' in done.stderr


async def test_good_specs_are_taken_and_stored_as_the_types_read_them(client: Client, namespace: str) -> None:
    for number, case in enumerate(GOOD):
        stored = await client.create(JOBS, namespace, job(case.spec, f"job-{number}"))
        read = BatchInferenceJobSpec.model_validate(stored["spec"])
        assert read == BatchInferenceJobSpec.model_validate(case.spec), case.name


async def test_defaults_are_shown_to_the_user(client: Client, namespace: str) -> None:
    spec = (await client.create(JOBS, namespace, job(SPEC)))["spec"]
    assert spec["completionWindow"] == "8h"
    assert spec["workers"] == {"min": 0, "max": 1}
    assert spec["resources"] == {"gpu": 0, "gpuResourceName": "nvidia.com/gpu", "cpu": "1", "memory": "4Gi"}
    assert spec["model"]["engineArgs"] == {"dtype": "auto"}
    assert "ttlSecondsAfterFinished" not in spec


async def test_what_is_immutable_stays(client: Client, namespace: str) -> None:
    stored = await client.create(JOBS, namespace, job(SPEC))
    for case in FROZEN:
        edited = stored | {"spec": case.spec}
        with pytest.raises(ApiError) as refusal:
            await client.replace(JOBS, namespace, "job", edited)
        assert f"{case.at} is immutable" in said(refusal.value, case.at), case.name


async def test_a_cancel_is_never_taken_back(client: Client, namespace: str) -> None:
    stored = await client.create(JOBS, namespace, job({**SPEC, "cancel": True}))
    for spec in (SPEC, {**SPEC, "cancel": False}):
        with pytest.raises(ApiError) as refusal:
            await client.replace(JOBS, namespace, "job", stored | {"spec": spec})
        assert "cancel cannot be taken back" in said(refusal.value, "cancel")


async def test_a_job_is_not_resubmitted_of_itself(client: Client, namespace: str) -> None:
    with pytest.raises(ApiError) as refusal:
        await client.create(JOBS, namespace, job({**SPEC, "resubmitOf": "job"}))
    assert "resubmitOf must name another job" in said(refusal.value, "resubmitOf")


async def test_what_is_editable_changes(client: Client, namespace: str) -> None:
    stored = await client.create(JOBS, namespace, job(SPEC))
    for case in EDITABLE:
        stored = await client.replace(JOBS, namespace, "job", stored | {"spec": case.spec})
    assert stored["metadata"]["generation"] == 1 + len(EDITABLE)


async def test_a_job_written_again_as_it_was_is_no_change(client: Client, namespace: str) -> None:
    """`kubectl apply` of the same file: defaults must not look like edits of what is immutable."""
    stored = await client.create(JOBS, namespace, job(SPEC))
    again = await client.replace(JOBS, namespace, "job", stored | {"spec": SPEC})
    assert again["metadata"]["generation"] == 1


def test_kubectl_tells_every_fault_in_one_answer(kubectl: Any, namespace: str) -> None:
    spec = {**SPEC, "completionWindow": "4m", "workers": {"min": 3, "max": 2}}
    done = kubectl.run("apply", "-n", namespace, "-f", "-", given=job(spec))
    assert done.returncode == 1
    assert "spec.completionWindow" in done.stderr
    assert "completionWindow must be 5m to 14d, such as 30m, 4h or 1d12h" in done.stderr
    assert "workers.min must not be above workers.max" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*-job.yaml")), ids=lambda path: path.name)
def test_the_examples_apply(kubectl: Any, namespace: str, path: Path) -> None:
    name = yaml.safe_load(path.read_text())["metadata"]["name"]
    assert kubectl("apply", "-n", namespace, "-f", str(path)) == f"batchinferencejob.tidemill.dev/{name} created\n"
    assert kubectl("apply", "-n", namespace, "-f", str(path)).endswith("unchanged\n")


async def test_kubectl_get_says_how_far_a_job_is(client: Client, namespace: str, kubectl: Any) -> None:
    await client.create(JOBS, namespace, job(SPEC, "tickets"))
    when = "2026-01-02T03:04:05Z"
    conditions = [
        {"type": "Progressing", "status": "True", "reason": "Processing", "lastTransitionTime": when},
        {"type": "WindowAtRisk", "status": "True", "reason": "TooFewWorkers", "lastTransitionTime": when},
        {"type": "Succeeded", "status": "Unknown", "reason": "Running", "lastTransitionTime": when},
    ]
    status = {
        "conditions": conditions,
        "rows": {"total": 216, "completed": 40, "failed": 2},
        "workers": {"desired": 3, "ready": 1},
        "forecast": {"finishTime": ETA, "meetsWindow": True, "chancePercent": 70},
        "planned": {"startTime": ETA, "finishTime": ETA},
        "queue": {"depth": 174, "oldestAgeSeconds": 60, "ageRatio": "2.01", "health": "Warning"},
        "completionTime": when,
    }
    await client.patch(JOBS, namespace, "tickets", {"status": status}, subresource="status")
    header, row = kubectl("get", "bij", "-n", namespace).splitlines()
    shown = ["NAME", "MODEL", "STATUS", "TOTAL", "COMPLETED", "FAILED", "WORKERS", "SUCCEEDED", "ETA"]
    assert header.split() == [*shown, "HEALTH", "AT-RISK", "AGE"]
    assert row.split()[:9] == ["tickets", "smollm2", "Processing", "216", "40", "2", "1", "Unknown", ETA]
    assert row.split()[9:11] == ["Warning", "True"]
    header, row = kubectl("get", "tidemill", "-n", namespace, "-o", "wide").splitlines()
    assert header.split()[12:18] == ["REASON", "WINDOW", "IN-WINDOW", "CHANCE", "RISK", "STARTS"]
    assert header.split()[18:] == ["AGE-RATIO", "DESIRED", "INPUT", "OUTPUT", "FINISHED"]
    uris = [SPEC["input"]["uri"], SPEC["output"]["uri"]]
    assert row.split()[12:-1] == ["Running", "8h", "true", "70", "TooFewWorkers", ETA, "2.01", "3", *uris]
    assert re.fullmatch("[0-9dhms]+|<invalid>", row.split()[-1])  # since that moment
    kubectl("wait", "-n", namespace, "--for=condition=Progressing", "bij/tickets", "--timeout=5s")


def test_kubectl_explains_every_field(kubectl: Any) -> None:
    text = kubectl("explain", "bij.spec.completionWindow")
    assert "completionWindow from creation within which all rows are answered" in text
    assert "hostPath of the node; refused unless the operator allows it" in kubectl(
        "explain", "bij.spec.template.volumes"
    )
