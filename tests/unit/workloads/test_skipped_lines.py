"""`onInvalid: Skip`: bad lines have their error line before the first row is run, whatever happens in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from validation_builders import any_model
from workload_builders import MODEL, answered, claim_at, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_workloads import validation
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.join import join, survey
from tidemill_workloads.parts import ChunkParts
from tidemill_workloads.rows import chunk_rows
from tidemill_workloads.validation import Plan, validate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidemill_workloads.identity import Claim
    from tidemill_workloads.index import Index
    from tidemill_workloads.local_storage import LocalInput

RULES = any_model(MODEL)
PLAN = Plan(RULES, workers_max=1, skip=True)


@pytest.fixture(scope="module", autouse=True)
def rules_are_closed() -> Iterator[None]:
    with RULES:
        yield


def skipping(source: LocalInput, claim: Claim, plan: Plan = PLAN) -> Index:
    return validate(source, claim, plan, lambda rows: None)


def files(root: Path, source: LocalInput, claim: Claim, index: Index) -> tuple[list[Any], list[Any]]:
    """Answers every row that has no line yet; then results and errors as they are joined."""
    for chunk in survey(claim.folder, index).unfinished:
        parts = ChunkParts(claim.folder, chunk.number)
        have = set(parts.answered(range(chunk.first_line, chunk.first_line + chunk.lines)))
        rows = chunk_rows(chunk, source.read_range(chunk.offset, chunk.length), have)
        parts.write("000001.worker-000001.jsonl", [answered(row.line) for row in rows])
    with claim.folder.writing("results.jsonl") as results, claim.folder.writing("errors.jsonl") as errors:
        join(claim.folder, index, results, errors)
    read = ((root / name).read_text().splitlines() for name in ("results.jsonl", "errors.jsonl"))
    results_lines, error_lines = ([json.loads(line) for line in lines] for lines in read)
    return results_lines, error_lines


def test_a_bad_line_stands_at_its_place_in_errors_with_code_and_parameter(tmp_path: Path) -> None:
    lines = [request("a"), b"{oops", request("b", method="GET"), b"", request("a"), request("c"), request("")]
    source, claim = write_lines(tmp_path / "in.jsonl", lines), claim_at(tmp_path / "out")
    index = skipping(source, claim)
    assert (index.rows, index.invalid) == (6, 4)
    results, errors = files(tmp_path / "out", source, claim, index)
    assert [line["line"] for line in results] == [1, 6]
    assert [line["custom_id"] for line in errors] == [None, "b", "a", None]
    bodies = [line["response"]["body"]["error"] for line in errors]
    assert [error["code"] for error in bodies] == [
        "invalid_json_line",
        "invalid_request",
        "duplicate_custom_id",
        "invalid_request",
    ]
    assert [error["param"] for error in bodies] == [None, "method", "custom_id", "custom_id"]
    assert {error["type"] for error in bodies} == {"invalid_request_error"}
    assert all(set(line) == {"id", "custom_id", "response", "error"} and line["error"] is None for line in errors)
    assert all(line["id"].startswith("batch_req_") and line["response"]["status_code"] == 400 for line in errors)


def test_a_chunk_of_bad_lines_only_is_no_work_for_anybody(tmp_path: Path) -> None:
    lines: list[Any] = [b"{"] * 40 + [request(f"r-{number}") for number in range(40)]
    source, claim = write_lines(tmp_path / "in.jsonl", lines), claim_at(tmp_path / "out")
    index = skipping(source, claim)
    unfinished = survey(claim.folder, index).unfinished
    assert 0 < len(unfinished) < len(index.chunks)
    assert sum(chunk.rows for chunk in unfinished) >= 40


@pytest.mark.parametrize("lines", [[b"{", b"[]"], [], [b"", b" "]])
def test_a_file_without_a_good_line_fails_all_the_same(tmp_path: Path, lines: list[bytes]) -> None:
    source, claim = write_lines(tmp_path / "in.jsonl", lines), claim_at(tmp_path / "out")
    with pytest.raises(JobRefused) as caught:
        skipping(source, claim)
    assert caught.value.reason == Reason.VALIDATION_FAILED
    assert claim.folder.names("parts") == []


def test_without_skip_no_part_is_written(tmp_path: Path) -> None:
    source, claim = write_lines(tmp_path / "in.jsonl", [request("a"), b"{"]), claim_at(tmp_path / "out")
    with pytest.raises(JobRefused):
        skipping(source, claim, Plan(RULES, workers_max=1))
    assert claim.folder.names("parts") == []


def test_an_attempt_that_lost_the_folder_writes_no_line(tmp_path: Path) -> None:
    source, claim = write_lines(tmp_path / "in.jsonl", [request("a"), b"{"]), claim_at(tmp_path / "out")
    claim_at(tmp_path / "out")
    with pytest.raises(Superseded):
        skipping(source, claim)
    assert claim.folder.names("parts") == []


def test_a_validation_killed_before_its_index_is_done_again_by_the_next_attempt(tmp_path: Path) -> None:
    lines: list[Any] = [request("a"), b"{", request("b")]
    source = write_lines(tmp_path / "in.jsonl", lines)
    skipping(source, claim_at(tmp_path / "out"))
    claim = claim_at(tmp_path / "out")
    index = skipping(source, claim)
    results, errors = files(tmp_path / "out", source, claim, index)
    assert [line["line"] for line in results] == [1, 3]
    assert [line["custom_id"] for line in errors] == [None]


def test_a_line_too_long_to_hold_is_a_chunk_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MAX_LINE_BYTES", 9 << 20)
    long = b"x" * (10 << 20)
    good = [request(f"r-{number}") for number in range(100)]
    source = write_lines(tmp_path / "in.jsonl", [*good[:50], long, long, b"", *good[50:], long])
    claim = claim_at(tmp_path / "out")
    index = skipping(source, claim)
    assert sum(chunk.rows for chunk in index.chunks) == index.rows == 103
    assert sum(chunk.length for chunk in index.chunks) == source.identity.size
    for chunk in survey(claim.folder, index).unfinished:
        assert chunk.length < 1 << 20
    results, errors = files(tmp_path / "out", source, claim, index)
    assert len(results) == 100
    assert [line["response"]["body"]["error"]["code"] for line in errors] == ["line_too_long"] * 3


kinds = st.lists(st.sampled_from(["good", "bad", "blank", "twin"]), max_size=80)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(kinds, st.integers(1, 3))
def test_every_row_has_one_line_in_one_of_the_files(tmp_path: Path, kinds: list[str], workers_max: int) -> None:
    made = {"bad": b"{", "blank": b" ", "twin": json.dumps(request("twin")).encode()}
    lines: list[Any] = [made.get(kind) or request(f"r-{number}") for number, kind in enumerate(kinds)]
    source, claim = write_lines(tmp_path / "in.jsonl", lines), claim_at(tmp_path / "out")
    claim.folder.delete("parts")
    bad = kinds.count("bad") + max(0, kinds.count("twin") - 1)
    rows = len(kinds) - kinds.count("blank")
    if bad == rows:
        with pytest.raises(JobRefused):
            skipping(source, claim, Plan(RULES, workers_max, skip=True))
        return
    index = skipping(source, claim, Plan(RULES, workers_max, skip=True))
    results, errors = files(tmp_path / "out", source, claim, index)
    assert (len(results), len(errors)) == (rows - bad, bad)
    assert [line["line"] for line in results] == sorted({line["line"] for line in results})
