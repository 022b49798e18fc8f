"""Objects that earlier releases stored live on under today's CRDs: read, decided on, written, edited and deleted.

`stored/` holds objects as the first release of each CRD kept them (its defaults in place, a status with the fields of
then), and one that today's rules would refuse. They are put into an API server before it knows today's CRDs.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from api_server_process import ServerProcess
from cluster_fixtures import Kubectl

from tidemill_operator.core.endpoint import planner as endpoint_planner
from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import AttemptState, AttemptView, Snapshot
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.endpoint_views import read_endpoint
from tidemill_operator.views import read_job

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
STORED = Path(__file__).parent / "stored"
PLURALS = {"BatchInferenceJob": "batchinferencejobs", "RealtimeEndpoint": "realtimeendpoints"}
Json = dict[str, Any]


def definition(plural: str) -> Json:
    loaded: Json = yaml.safe_load((ROOT / "crds" / f"tidemill.dev_{plural}.yaml").read_text())
    return loaded


def lenient(crd: Json) -> Json:
    """The definition as one that takes everything, as the stored object was taken by its own."""
    (version,) = crd["spec"]["versions"]
    kept = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    whole = {"type": "object", "properties": {"spec": kept, "status": kept}}
    open_version = version | {"schema": {"openAPIV3Schema": whole}}
    return crd | {"spec": crd["spec"] | {"versions": [open_version]}}


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """An API server on which every stored object was there before today's CRDs; each in a namespace of its name."""
    server = ServerProcess(tmp_path_factory.mktemp("stored")).start()
    kubectl = Kubectl(server.kubeconfig)
    try:
        for plural in PLURALS.values():
            kubectl("create", "-f", "-", given=lenient(definition(plural)))
        for path in sorted(STORED.glob("*.yaml")):
            body = yaml.safe_load(path.read_text())
            kubectl("create", "namespace", path.stem)
            kubectl("create", "-n", path.stem, "--validate=false", "-f", "-", given=body)
            status = json.dumps({"status": body["status"]})
            where = (PLURALS[body["kind"]], body["metadata"]["name"], "-n", path.stem)
            kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", status)
        for plural in PLURALS.values():
            kubectl("replace", "-f", "-", given=definition(plural))
        yield kubectl
    finally:
        server.stop()


def stored(kubectl: Kubectl, case: str) -> Json:
    body = yaml.safe_load((STORED / f"{case}.yaml").read_text())
    found: Json = kubectl.json("get", PLURALS[body["kind"]], body["metadata"]["name"], "-n", case)
    return found


def write_status(kubectl: Kubectl, body: Json, status: Json) -> Json:
    """As the operator does: a merge of the whole status."""
    where = (PLURALS[body["kind"]], body["metadata"]["name"], "-n", body["metadata"]["namespace"])
    kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    written: Json = kubectl.json("get", *where)
    return written


def test_a_job_of_the_first_release_goes_on_where_it_was(upgraded: Kubectl) -> None:
    body = stored(upgraded, "first-batchinferencejob-running")
    job = read_job(body, SpecPolicy())
    assert job.spec_problem == ""
    assert job.spec is not None
    assert (job.spec.completion_window, job.spec.on_deadline, job.spec.suspend) == ("24h", "Expire", False)
    job = replace(job, created=datetime.now(UTC).replace(microsecond=0))
    decided = plan(Snapshot(now=job.created, job=job, attempt=AttemptView(AttemptState.LOST)))
    status = write_status(upgraded, body, decided.status.model_dump(mode="json", by_alias=True))["status"]
    assert {"total": 100, "completed": 40, "failed": 2, "remaining": 58}.items() <= status["rows"].items()
    assert (status["driver"]["attempt"], status["driver"]["endedAttempt"]) == (2, 2)
    assert "Window" in str(status["conditions"]), "a condition of today is there too"


def test_a_finished_job_of_the_first_release_stays_finished_and_costs_nothing(upgraded: Kubectl) -> None:
    body = stored(upgraded, "first-batchinferencejob-finished")
    job = read_job(body, SpecPolicy())
    decided = plan(Snapshot(now=datetime.now(UTC), job=job))
    assert decided.actions == ()
    status = write_status(upgraded, body, decided.status.model_dump(mode="json", by_alias=True))["status"]
    finished = next(c for c in status["conditions"] if c["type"] == "Finished")
    assert (finished["status"], finished["reason"]) == ("True", "SomeRowsFailed")
    assert status["output"]["resultsURI"] == "/data/out/results.jsonl"


def test_an_endpoint_of_the_first_release_keeps_what_serves(upgraded: Kubectl) -> None:
    body = stored(upgraded, "first-realtimeendpoint")
    endpoint = read_endpoint(body, SpecPolicy())
    assert (endpoint.spec_problem, endpoint.status.revision.serving) == ("", "0123456789")
    decided = endpoint_planner.plan(EndpointSnapshot(now=datetime.now(UTC), endpoint=endpoint, wanted="0123456789"))
    status = write_status(upgraded, body, decided.status.model_dump(mode="json", by_alias=True))["status"]
    assert status["revision"]["wanted"] == "0123456789"


def test_a_job_that_todays_rules_would_refuse_goes_on_where_it_has_begun(upgraded: Kubectl) -> None:
    """Rules look at what a write changes, so its status can be written; and no work is ended by an upgrade."""
    body = stored(upgraded, "before-reserved-batchinferencejob")
    job = read_job(body, SpecPolicy())
    assert job.spec_problem == ""
    assert "LD_PRELOAD" in job.outdated
    assert "/tmp is a folder of the image's system" in job.outdated
    job = replace(job, created=datetime.now(UTC).replace(microsecond=0))
    decided = plan(Snapshot(now=job.created, job=job, attempt=AttemptView(AttemptState.ACTIVE)))
    status = write_status(upgraded, body, decided.status.model_dump(mode="json", by_alias=True))["status"]
    succeeded = next(c for c in status["conditions"] if c["type"] == "Succeeded")
    assert (succeeded["status"], succeeded["reason"]) == ("Unknown", "Running")


def test_a_job_that_todays_rules_would_refuse_and_that_has_not_begun_is_ended(upgraded: Kubectl) -> None:
    body = stored(upgraded, "before-reserved-batchinferencejob") | {"status": {}}
    job = read_job(body, SpecPolicy())
    assert "LD_PRELOAD" in job.spec_problem
    decided = plan(Snapshot(now=datetime.now(UTC), job=job))
    succeeded = next(c for c in decided.status.conditions if c.type == "Succeeded")
    assert (succeeded.status, succeeded.reason) == ("False", "InvalidSpec")
    assert decided.actions == ()


@pytest.mark.parametrize("case", [path.stem for path in sorted(STORED.glob("*.yaml"))])
def test_what_was_stored_is_shown_labelled_and_deleted_as_any(upgraded: Kubectl, case: str) -> None:
    body = stored(upgraded, case)
    where = (PLURALS[body["kind"]], body["metadata"]["name"], "-n", case)
    assert body["metadata"]["name"] in upgraded("get", *where, "-o", "wide")
    upgraded("label", *where, "team=b")
    copy = upgraded.json("get", *where) | {"kind": body["kind"]}
    copy["metadata"] = {"name": f"{body['metadata']['name']}-2", "namespace": case}
    again = upgraded.run("create", "-f", "-", given=copy)
    assert (again.returncode == 0) is not case.startswith("before-reserved"), again.stderr
    upgraded("delete", *where, "--timeout=10s")
