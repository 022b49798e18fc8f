"""Who owns the output folder, and whose turn it is."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from workload_builders import MODEL, folder_at, job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import AdapterSpec, ModelSpec
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.identity import Claim, belongs_to, describe, own_folder
from tidemill_workloads.index import Chunk, Index, write_index
from tidemill_workloads.local_storage import LocalInput
from tidemill_workloads.storage import InputIdentity

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill_api.job_contract import JobConfig


def own(root: Path, config: JobConfig) -> None:
    path = root / "input.jsonl"
    own_folder(folder_at(root / "output"), config, LocalInput.at(path, str(path)).identity)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_lines(tmp_path / "input.jsonl", [request("a")])
    return tmp_path


def begin_rows(root: Path) -> None:
    write_index(folder_at(root / "output"), Index(1, 1, 1, (Chunk(0, 0, 1, 1, 1, 1),)))


def reason_of(root: Path, config: JobConfig) -> tuple[Reason, str]:
    before = sorted(path.name for path in (root / "output").iterdir())
    with pytest.raises(JobRefused) as caught:
        own(root, config)
    assert sorted(path.name for path in (root / "output").iterdir()) == before, "nothing may be touched"
    return caught.value.reason, caught.value.message


def test_the_same_job_finds_its_folder_again_whatever_the_attempt(root: Path) -> None:
    own(root, job(root))
    own(root, job(root, attempt=7, workers_max=3))
    written = json.loads((root / "output" / "job.json").read_text())
    assert written["job"] == "shop/tickets"
    assert written["input"]["size"] == (root / "input.jsonl").stat().st_size


def test_the_folder_of_another_job_is_refused(root: Path) -> None:
    own(root, job(root))
    reason, message = reason_of(root, job(root, name="other"))
    assert reason == Reason.OUTPUT_IN_USE
    assert "belongs to job shop/tickets" in message
    assert message.startswith("spec.output.uri: ")


def test_a_job_of_that_name_with_another_model_is_another_job(root: Path) -> None:
    own(root, job(root))
    changed = ModelSpec(name=MODEL, source="/models/other")
    assert reason_of(root, job(root, model=changed))[0] == Reason.OUTPUT_IN_USE
    changed = ModelSpec(name=MODEL, source=job(root).model.source, engine_args={"max_model_len": 99})
    reason, message = reason_of(root, job(root, model=changed))
    assert reason == Reason.OUTPUT_IN_USE
    assert "with another model" in message


def test_adapters_are_part_of_a_job_and_leave_no_trace_where_there_are_none(root: Path) -> None:
    own(root, job(root))
    assert "adapters" not in json.loads((root / "output" / "job.json").read_text())["model"]
    adapted = job(root).model.model_copy(update={"adapters": (AdapterSpec(name="a", source="/adapters/a"),)})
    assert "with another model" in reason_of(root, job(root, model=adapted))[1]


@pytest.mark.parametrize(
    ("changes", "named"), [({"on_invalid": "Skip"}, "onInvalid"), ({"resubmit_of_uri": "/out/other/"}, "resubmitOf")]
)
def test_what_decides_the_lines_makes_another_job(root: Path, changes: dict[str, str], named: str) -> None:
    own(root, job(root))
    reason, message = reason_of(root, job(root, **changes))
    assert reason == Reason.OUTPUT_IN_USE
    assert f"with another {named};" in message


def test_retries_bounds_workers_and_an_ending_leave_it_the_same_job(root: Path) -> None:
    own(root, job(root))
    changes = {"max_attempts": 5, "retry_backoff_seconds": 9, "max_failed_rows": 3, "workers_max": 7}
    own(root, job(root, attempt=2, ending="Cancelled", **changes))


def test_a_job_file_of_before_these_fields_is_read_as_their_defaults(root: Path) -> None:
    own(root, job(root))
    path = root / "output" / "job.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: content[key] for key in ("version", "job", "model", "input")}))
    own(root, job(root))
    assert reason_of(root, job(root, on_invalid="Skip"))[0] == Reason.OUTPUT_IN_USE


def test_an_input_that_changed_after_rows_were_begun_is_refused(root: Path) -> None:
    own(root, job(root))
    begin_rows(root)
    os.utime(root / "input.jsonl", ns=(1, 1))
    reason, message = reason_of(root, job(root))
    assert reason == Reason.INPUT_CHANGED
    assert message.startswith("spec.input.uri: ")


def test_an_input_mended_after_a_failed_validation_is_taken(root: Path) -> None:
    own(root, job(root))
    write_lines(root / "input.jsonl", [request("mended")])
    own(root, job(root))
    begin_rows(root)
    own(root, job(root))


SIGNED = "https://files.example/in.jsonl?X-Signature=hush"


def own_signed(root: Path, uri: str, etag: str = '"one"') -> JobConfig:
    config = job(root, input_uri=uri)
    own_folder(folder_at(root / "output"), config, InputIdentity(uri, 10, 0, etag))
    return config


def test_a_signature_is_written_nowhere_and_still_tells_one_input_from_another(root: Path) -> None:
    config = own_signed(root, SIGNED)
    assert "hush" not in (root / "output" / "job.json").read_text()
    assert belongs_to(folder_at(root / "output"), config)
    own_signed(root, SIGNED)
    other = SIGNED.replace("hush", "else")
    assert not belongs_to(folder_at(root / "output"), job(root, input_uri=other))
    with pytest.raises(JobRefused, match="with another input;"):
        own_signed(root, other)
    begin_rows(root)
    with pytest.raises(JobRefused, match="was changed") as changed:
        own_signed(root, SIGNED, '"two"')
    assert "https://files.example/in.jsonl?..." in changed.value.message
    assert "hush" not in changed.value.message


def test_a_job_file_of_before_with_the_whole_url_is_the_same_jobs(root: Path) -> None:
    config = job(root, input_uri=SIGNED)
    content = describe(config, InputIdentity(SIGNED, 10, 0, '"one"'))
    content["input"] = {"uri": SIGNED, "size": 10, "mtime_ns": 0, "etag": '"one"'}
    folder_at(root / "output").create("job.json", json.dumps(content).encode())
    assert belongs_to(folder_at(root / "output"), config)
    begin_rows(root)
    own_signed(root, SIGNED)
    with pytest.raises(JobRefused, match="with another input;"):
        own_signed(root, SIGNED + "2")


def test_a_question_mark_in_a_files_name_is_part_of_the_name(root: Path) -> None:
    for uri in ("/data/why?.jsonl", "s3://in/why?.jsonl"):
        entry = describe(job(root), InputIdentity(uri, 1, 2))["input"]
        assert entry == {"uri": uri, "size": 1, "mtime_ns": 2}


@pytest.mark.parametrize("name", ["results.jsonl", "errors.jsonl", "manifest.json", "validation.jsonl"])
def test_results_of_somebody_else_are_never_overwritten(root: Path, name: str) -> None:
    folder_at(root / "output")
    (root / "output" / name).write_text("precious")
    reason, message = reason_of(root, job(root))
    assert reason == Reason.OUTPUT_IN_USE
    assert name in message


@pytest.mark.parametrize("name", ["parts", "index", "attempts"])
def test_a_users_own_folder_of_a_name_of_ours_is_never_removed(root: Path, name: str) -> None:
    folder_at(root / "output")
    (root / "output" / name).mkdir()
    (root / "output" / name / "precious").write_text("mine")
    reason, message = reason_of(root, job(root))
    assert reason == Reason.OUTPUT_IN_USE
    assert name in message
    assert (root / "output" / name / "precious").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"job": "shop/tickets"}'])
def test_a_job_file_that_is_not_ours_is_refused(root: Path, content: bytes) -> None:
    folder_at(root / "output")
    (root / "output" / "job.json").write_bytes(content)
    assert reason_of(root, job(root))[0] == Reason.OUTPUT_IN_USE


def test_of_many_jobs_at_once_exactly_one_gets_the_folder(root: Path) -> None:
    def attempt(number: int) -> str:
        try:
            own(root, job(root, name=f"job-{number}"))
        except JobRefused as refusal:
            return refusal.reason
        return "owner"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    assert outcomes.count("owner") == 1
    assert outcomes.count(Reason.OUTPUT_IN_USE) == 15


def test_attempts_take_the_next_number_and_the_older_one_stops(root: Path) -> None:
    folder = folder_at(root / "output")
    first = Claim.next(folder)
    first.check()
    second = Claim.next(folder)
    assert (first.number, second.number) == (1, 2)
    second.check()
    with pytest.raises(Superseded, match="attempt 2 has taken over"):
        first.check()
    assert second.first_claim_unix() == first.first_claim_unix()


def test_attempts_at_once_get_different_numbers_without_a_gap(root: Path) -> None:
    folder = folder_at(root / "output")
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: Claim.next(folder), range(16)))
    assert sorted(claim.number for claim in claims) == list(range(1, 17))
