"""Every shipped example is a job that Tidemill takes, on an input that it can answer."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest
import yaml

from tidemill_api import GROUP, VERSION
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.batch_inference_job import KIND, BatchInferenceJobSpec
from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
from tidemill_operator.core.endpoint.spec_checks import endpoint_problems
from tidemill_operator.core.spec_checks import SpecPolicy, problems

EXAMPLES = Path(__file__).parents[3] / "hack" / "examples"
JOBS = sorted(EXAMPLES.glob("*-job.yaml"))
URLS = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"}


def spec_of(path: Path) -> BatchInferenceJobSpec:
    document = yaml.safe_load(path.read_text())
    assert (document["apiVersion"], document["kind"]) == (f"{GROUP}/{VERSION}", KIND)
    return BatchInferenceJobSpec.model_validate(document["spec"])


def test_there_are_a_chat_a_nightly_and_an_embedding_example() -> None:
    assert [path.name for path in JOBS] == ["embeddings-job.yaml", "nightly-tickets-job.yaml", "tickets-job.yaml"]
    assert {path.name for path in EXAMPLES.glob("*.jsonl")} == {"embeddings.jsonl", "tickets.jsonl"}


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_each_job_parses_and_its_files_lie_under_its_mounts(path: Path) -> None:
    spec = spec_of(path)
    mounts = {mount.mount_path: mount for mount in spec.template.volume_mounts}
    for uri, writable in ((spec.input.uri, False), (spec.output.uri, True), (spec.model.source, False)):
        (mount,) = [mounts[place] for place in mounts if PurePosixPath(uri).is_relative_to(place)]
        assert mount.read_only is not writable, uri
    assert problems(spec, SpecPolicy(allow_host_path=True)) == ()  # as the demo's operator is set


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_each_row_is_a_request_for_the_jobs_model(path: Path) -> None:
    spec = spec_of(path)
    lines = (EXAMPLES / PurePosixPath(spec.input.uri).name).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({row["custom_id"] for row in rows}) == len(rows)
    assert {row["body"]["model"] for row in rows} == {spec.model.name}
    assert {row["method"] for row in rows} == {"POST"}
    assert {row["url"] for row in rows} <= URLS


def test_the_tickets_are_many_and_varied() -> None:
    rows = [json.loads(line) for line in (EXAMPLES / "tickets.jsonl").read_text(encoding="utf-8").splitlines()]
    tickets = [row["body"]["messages"][1]["content"] for row in rows]
    assert len(set(tickets)) == len(tickets) >= 200
    lengths = sorted(len(ticket) for ticket in tickets)
    assert lengths[0] < 30
    assert lengths[-1] > 800
    assert len({" ".join(ticket.lower().split()[:3]) for ticket in tickets}) > 0.9 * len(tickets), "no template"
    assert sum(not ticket.isascii() for ticket in tickets) >= 10
    assert sum("\n" in ticket for ticket in tickets) >= 2


def test_the_job_in_the_readme_is_one_that_a_strict_operator_takes() -> None:
    readme = (EXAMPLES.parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block.split("```")[0]) for block in readme.split("```yaml\n")[1:]]
    jobs = [block for block in blocks if block.get("kind") == KIND]
    assert jobs
    for job in jobs:
        assert problems(BatchInferenceJobSpec.model_validate(job["spec"]), SpecPolicy()) == ()


def test_each_endpoint_that_is_shown_may_run_on_a_cluster_whose_operator_allows_nothing() -> None:
    readme = (EXAMPLES.parents[1] / "README.md").read_text(encoding="utf-8")
    shown = [block.split("```")[0] for block in readme.split("```yaml\n")[1:]]
    shown += [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*-endpoint.yaml"))]
    documents = [document for text in shown for document in yaml.safe_load_all(text)]
    endpoints = [document for document in documents if document.get("kind") == realtime_endpoint.KIND]
    assert len(endpoints) == 3
    for endpoint in endpoints:
        spec = RealtimeEndpointSpec.model_validate(endpoint["spec"])
        assert endpoint_problems(endpoint["metadata"]["name"], spec, SpecPolicy()) == ()
