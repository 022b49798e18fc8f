"""What stands before the first row, run as the operator runs it: the entry point's process, its log and exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from workload_builders import answered, folder_at, job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import CONFIG_VARIABLE, EXIT_OK, EXIT_USER, JobConfig, Outcome
from tidemill_workloads import __main__ as entrypoint
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import read_index
from tidemill_workloads.join import ERRORS_FILE, RESULTS_FILE
from tidemill_workloads.manifest import MANIFEST_FILE, finalise, standing_outcome
from tidemill_workloads.parts import ERROR, ChunkParts

if TYPE_CHECKING:
    from pathlib import Path


def run(config: JobConfig) -> tuple[int, Outcome | None, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tidemill_workloads"],
        env=os.environ | {CONFIG_VARIABLE: config.model_dump_json()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, Outcome.from_log(done.stdout), done.stderr


def test_a_bad_file_ends_as_validation_failed_with_the_report(tmp_path: Path) -> None:
    write_lines(tmp_path / "input.jsonl", [request("a"), b"{"])
    code, outcome, _ = run(job(tmp_path))
    assert code == EXIT_USER
    assert outcome is not None
    assert outcome.reason == Reason.VALIDATION_FAILED
    assert outcome.invalid_lines == 1
    assert outcome.output.validation == str(tmp_path / "output" / "validation.jsonl")
    assert not outcome.awaited
    assert json.loads((tmp_path / "output" / "validation.jsonl").read_text())["line"] == 2


def test_a_missing_input_is_awaited(tmp_path: Path) -> None:
    code, outcome, log = run(job(tmp_path))
    assert code == EXIT_USER
    assert outcome is not None
    assert outcome.awaited
    assert outcome.reason == Reason.INPUT_NOT_FOUND
    assert str(tmp_path / "input.jsonl") in outcome.message
    assert log.count("\n") == 1


def test_a_job_that_is_not_one_says_so_without_a_traceback() -> None:
    for environment in ({}, {CONFIG_VARIABLE: "{"}):
        done = subprocess.run(
            [sys.executable, "-m", "tidemill_workloads"],
            env={key: value for key, value in os.environ.items() if key != CONFIG_VARIABLE} | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert CONFIG_VARIABLE in done.stderr
        assert "Traceback" not in done.stderr


def finish(tmp_path: Path) -> Claim:
    """A validated job of three rows, all answered by hand: the second one with an error."""
    write_lines(tmp_path / "input.jsonl", [request("a"), request("b"), request("c")])
    claim = entrypoint.prepare(job(tmp_path))
    assert isinstance(claim, Claim)
    index = read_index(claim.folder)
    assert index is not None
    for chunk in index.chunks:
        kind = {2: ERROR}.get(chunk.first_line)
        lines = [answered(chunk.first_line, kind) if kind else answered(chunk.first_line)]
        ChunkParts(claim.folder, chunk.number).write("1.a-1.jsonl", lines)
    finalise(job(tmp_path), claim, index)
    return claim


def test_a_finished_job_says_its_outcome_again_and_runs_nothing(tmp_path: Path) -> None:
    finish(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "output").rglob("*") if path.is_file()}
    code, outcome, _ = run(job(tmp_path, attempt=9))
    assert code == EXIT_OK
    assert outcome is not None
    assert outcome.reason == Reason.SOME_ROWS_FAILED
    assert (outcome.rows.total, outcome.rows.completed, outcome.rows.failed) == (3, 2, 1)
    assert (outcome.tokens.prompt, outcome.tokens.completion) == (9, 6)
    assert outcome.output.results == str(tmp_path / "output" / "results.jsonl")
    assert before == {path: path.read_bytes() for path in (tmp_path / "output").rglob("*") if path.is_file()}


def test_a_finished_folder_holds_four_files_for_the_user_and_no_parts(tmp_path: Path) -> None:
    import hashlib

    finish(tmp_path)
    output = tmp_path / "output"
    assert {path.name for path in output.iterdir()} == {
        "attempts",
        "errors.jsonl",
        "job.json",
        "manifest.json",
        "results.jsonl",
        "validation.jsonl",
    }
    manifest = json.loads((output / MANIFEST_FILE).read_text())
    assert manifest["rows"] == {
        "total": 3,
        "completed": 2,
        "failed": 1,
        "invalid": 0,
        "unanswered": 0,
        "takenOver": 0,
    }
    assert manifest["reason"] == "SomeRowsFailed"
    for name in (RESULTS_FILE, ERRORS_FILE):
        data = (output / name).read_bytes()
        assert manifest["files"][name] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert [json.loads(line)["line"] for line in (output / RESULTS_FILE).read_text().splitlines()] == [1, 3]
    assert manifest["firstAnswerTime"] < manifest["lastAnswerTime"]


def test_the_end_sweeps_our_unfinished_writes_and_nobody_elses(tmp_path: Path) -> None:
    unfinished = f".tmp-results.jsonl-{'0' * 32}"
    output = tmp_path / "output"
    ours = [output / unfinished, output / "attempts" / unfinished]
    theirs = [output / "other-job" / unfinished, output / ".tmp-notes"]
    for path in [*ours[:1], *theirs]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    finish(tmp_path)
    ours[1].write_text("x")
    standing_outcome(folder_at(output))
    assert [path.exists() for path in (*ours, *theirs)] == [False, False, True, True]


@pytest.mark.parametrize("folder", ["parts", "index", "attempts"])
def test_an_input_in_a_folder_that_the_job_removes_is_refused(tmp_path: Path, folder: str) -> None:
    place = tmp_path / "output" / folder / "deeper"
    place.mkdir(parents=True)
    write_lines(place / "in.jsonl", [request("a")])
    with pytest.raises(entrypoint.JobRefused, match=f"spec.input.uri: .* lies in .*/{folder}") as caught:
        entrypoint.prepare(job(tmp_path, input_uri=str(place / "in.jsonl")))
    assert caught.value.reason == Reason.INVALID_SPEC
    assert (place / "in.jsonl").exists()


def test_an_ending_is_said_by_the_entry_point_itself_without_a_driver(tmp_path: Path) -> None:
    write_lines(tmp_path / "input.jsonl", [request("a"), request("b")])
    assert isinstance(entrypoint.prepare(job(tmp_path)), Claim)
    code, outcome, log = run(job(tmp_path, attempt=2, ending="Expired"))
    assert code == EXIT_OK
    assert outcome is not None
    assert (outcome.reason, outcome.rows.failed) == (Reason.EXPIRED, 2)
    assert "attempt 2 of the output folder" in log
    lines = (tmp_path / "output" / ERRORS_FILE).read_text().splitlines()
    assert [json.loads(line)["error"]["code"] for line in lines] == ["batch_expired"] * 2
    code, again, _ = run(job(tmp_path, attempt=3, ending="Cancelled"))
    assert (code, again) == (EXIT_OK, outcome)


def test_a_failed_validation_may_be_mended_and_the_job_created_again(tmp_path: Path) -> None:
    write_lines(tmp_path / "input.jsonl", [b"{"])
    assert run(job(tmp_path))[0] == EXIT_USER
    finish(tmp_path)
    outcome = standing_outcome(folder_at(tmp_path / "output"))
    assert outcome is not None
    assert outcome.rows.total == 3


def test_a_standing_index_is_taken_as_it_is_even_if_the_pool_changed(tmp_path: Path) -> None:
    write_lines(tmp_path / "input.jsonl", [request(f"r-{i}") for i in range(100)])
    first = entrypoint.prepare(job(tmp_path))
    assert isinstance(first, Claim)
    index = read_index(first.folder)
    second = entrypoint.prepare(job(tmp_path, workers_max=40))
    assert isinstance(second, Claim)
    assert second.number == first.number + 1
    assert read_index(second.folder) == index


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"output_uri": "ftp://bucket/out/"}, Reason.INVALID_SPEC),
        ({"mounts": ("/nowhere",)}, Reason.INVALID_SPEC),
        ({"input_uri": "{root}/none.jsonl"}, Reason.INPUT_NOT_FOUND),
        ({"output_uri": "{root}/input.jsonl/"}, Reason.OUTPUT_NOT_WRITABLE),
    ],
)
def test_each_wrong_spec_has_its_reason(tmp_path: Path, changes: dict[str, object], reason: Reason) -> None:
    write_lines(tmp_path / "input.jsonl", [request("a")])
    filled = {key: value.format(root=tmp_path) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(entrypoint.JobRefused) as caught:
        entrypoint.prepare(job(tmp_path, **filled))
    assert caught.value.reason == reason


def test_a_retry_of_a_finished_job_says_its_outcome_even_if_the_input_is_gone(tmp_path: Path) -> None:
    finish(tmp_path)
    (tmp_path / "input.jsonl").unlink()
    code, outcome, _ = run(job(tmp_path, attempt=2))
    assert code == EXIT_OK
    assert outcome is not None
    assert outcome.rows.total == 3


def test_a_finished_folder_is_not_passed_off_as_the_result_of_another_input(tmp_path: Path) -> None:
    finish(tmp_path)
    write_lines(tmp_path / "input.jsonl", [request("new")])
    code, outcome, _ = run(job(tmp_path, attempt=1))
    assert code == EXIT_USER
    assert outcome is not None
    assert outcome.reason == Reason.INPUT_CHANGED
