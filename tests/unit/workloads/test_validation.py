"""The validating pass over whole files: every bad line once, by its physical number, and chunks that fit exactly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from validation_builders import any_model
from workload_builders import MODEL, claim_at, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_workloads import validation
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.local_storage import LocalInput
from tidemill_workloads.problems import Problem
from tidemill_workloads.rows import chunk_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidemill_workloads.index import Index

RULES = any_model(MODEL)


@pytest.fixture(scope="module", autouse=True)
def rules_are_closed() -> Iterator[None]:
    with RULES:
        yield


def validate(source: LocalInput, output: Path, workers_max: int = 1) -> Index:
    plan = validation.Plan(RULES, workers_max)
    return validation.validate(source, claim_at(output), plan, lambda rows: None)


def refusal(source: LocalInput, output: Path) -> JobRefused:
    with pytest.raises(JobRefused) as caught:
        validate(source, output)
    return caught.value


def report(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "validation.jsonl").read_text().splitlines()]


def test_a_good_file_has_an_empty_report_and_every_row_in_its_chunks(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [request(f"r-{i}") for i in range(500)])
    index = validate(source, tmp_path / "out")
    assert index.rows == 500
    assert sum(chunk.rows for chunk in index.chunks) == 500
    assert max(chunk.rows for chunk in index.chunks) <= 500 // 32
    assert report(tmp_path / "out") == []


def test_every_bad_line_is_reported_with_its_number_id_code_and_message(tmp_path: Path) -> None:
    lines: list[Any] = [request("a"), b"", b"{oops", request("b", body={"model": "other"}), request("a"), request("c")]
    found = refusal(write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out")
    assert [(bad["line"], bad["custom_id"], bad["code"]) for bad in report(tmp_path / "out")] == [
        (3, None, "invalid_json_line"),
        (4, "b", "model_not_found"),
        (5, "a", "duplicate_custom_id"),
    ]
    assert all(
        set(bad) == {"line", "custom_id", "code", "message", "param"} and bad["message"]
        for bad in report(tmp_path / "out")
    )
    assert found.reason == Reason.VALIDATION_FAILED
    assert found.invalid_lines == 3
    assert found.message.startswith("3 lines are not a valid request (1 invalid_json_line, 1 model_not_found, 1 dupl")
    assert "first line 3" in found.message
    assert str(tmp_path / "out" / "validation.jsonl") in found.message
    assert "mend the input" in found.message


def test_a_duplicate_names_the_first_line_and_a_bad_line_is_not_also_a_duplicate(tmp_path: Path) -> None:
    lines = [request("a"), request("b"), request("a", method="GET"), request("a"), request("b"), request("a")]
    refusal(write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out")
    found = [(bad["line"], bad["code"], bad["custom_id"]) for bad in report(tmp_path / "out")]
    assert found == [
        (3, "invalid_request", "a"),
        (4, "duplicate_custom_id", "a"),
        (5, "duplicate_custom_id", "b"),
        (6, "duplicate_custom_id", "a"),
    ]
    assert "line 2" in report(tmp_path / "out")[2]["message"]
    assert "line 1" in report(tmp_path / "out")[3]["message"]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n\t\n\n"])
def test_a_file_without_a_request_is_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    found = refusal(LocalInput.at(path, str(path)), tmp_path / "out")
    assert found.reason == Reason.VALIDATION_FAILED
    assert [bad["code"] for bad in report(tmp_path / "out")] == ["empty_file"]
    assert "input file is empty" in found.message


def test_byte_order_mark_crlf_blank_lines_and_a_missing_last_newline_are_no_trouble(tmp_path: Path) -> None:
    rows = [json.dumps(request(f"r-{i}"), ensure_ascii=False).encode() for i in range(4)]
    separator = "line\u2028break \u0085 \x1c".encode()
    rows[2] = rows[2].replace(b"hello", separator.replace(b"\x1c", b""))
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + rows[0] + b"\r\n\r\n" + rows[1] + b"\n  \n" + rows[2] + b"\r\n" + rows[3])
    source = LocalInput.at(path, str(path))
    index = validate(source, tmp_path / "out")
    found = [
        (row.line, row.custom_id)
        for chunk in index.chunks
        for row in chunk_rows(chunk, source.read_range(chunk.offset, chunk.length), set())
    ]
    assert found == [(1, "r-0"), (3, "r-1"), (5, "r-2"), (6, "r-3")]


def test_a_line_too_long_to_hold_is_reported_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MAX_LINE_BYTES", 300)
    source = write_lines(tmp_path / "in.jsonl", [request("a"), request("b" * 1000), request("c"), b"x" * 600])
    refusal(source, tmp_path / "out")
    assert [(bad["line"], bad["code"]) for bad in report(tmp_path / "out")] == [
        (2, "line_too_long"),
        (4, "line_too_long"),
    ]


def test_an_input_that_changes_under_validation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    source = write_lines(path, [request("a"), request("b")])
    write_lines(path, [request("a"), request("other")])
    assert refusal(source, tmp_path / "out").reason == Reason.INPUT_CHANGED


def test_progress_tells_rows_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "REPORT_EVERY", 10)
    seen: list[int] = []
    source = write_lines(tmp_path / "in.jsonl", [request(f"r-{i}") for i in range(35)])
    validation.validate(source, claim_at(tmp_path / "out"), validation.Plan(RULES, 1), seen.append)
    assert seen == [10, 20, 30, 35]


GOOD = json.dumps(request("a")).encode()


@pytest.mark.parametrize(
    "line",
    [
        GOOD + b"\f",
        b"\v" + GOOD + b"\r",
        b"\xef\xbb\xbf\f" + GOOD + b"\v",
        b'{"custom_id": 1, "url": [], "body": null, ' + GOOD[1:],
    ],
)
def test_a_line_that_validation_accepts_is_decoded_by_the_worker(tmp_path: Path, line: bytes) -> None:
    source = write_lines(tmp_path / "in.jsonl", [line])
    (chunk,) = validate(source, tmp_path / "out").chunks
    (row,) = chunk_rows(chunk, source.read_range(chunk.offset, chunk.length), set())
    assert (row.line, row.custom_id, row.fault) == (1, "a", "")


def test_a_duplicate_with_white_space_about_it_is_reported_with_its_custom_id(tmp_path: Path) -> None:
    refusal(write_lines(tmp_path / "in.jsonl", [GOOD, GOOD + b"\f"]), tmp_path / "out")
    assert [(bad["line"], bad["custom_id"]) for bad in report(tmp_path / "out")] == [(2, "a")]


_values = st.none() | st.integers() | st.text(max_size=3) | st.just({}) | st.just([])
_keys = st.sampled_from(["custom_id", "method", "url", "body", "other"])
_pairs = st.lists(st.tuples(_keys, _values), max_size=4)
_blanks = st.text(" \t\r\v\f", max_size=3).map(str.encode)


@st.composite
def _strange_lines(draw: st.DrawFn) -> bytes:
    """A good request with keys twice, white space about it, deep nesting or a byte order mark."""
    depth = draw(st.sampled_from([0, 1, 90, 99, 120, 900, 5000]))
    extra = [b"%b: %b" % (json.dumps(key).encode(), json.dumps(value).encode()) for key, value in draw(_pairs)]
    good = [GOOD[1:-1], b'"deep": ' + b"[" * depth + b"0" + b"]" * depth]
    pairs = b", ".join([*extra, *good] if draw(st.booleans()) else [*good, *extra])
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return mark + draw(_blanks) + b"{" + pairs + b"}" + draw(_blanks)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(_strange_lines())
def test_whatever_validation_accepts_the_worker_decodes(tmp_path: Path, line: bytes) -> None:
    source = write_lines(tmp_path / "in.jsonl", [line])
    try:
        index = validate(source, tmp_path / "out")
    except JobRefused:
        return
    (row,) = chunk_rows(index.chunks[0], source.read_range(0, source.identity.size), set())
    assert not row.fault
    assert row.custom_id
    assert row.body["model"] == MODEL


line_kinds = st.sampled_from(["good", "blank", "spaces", "broken", "crlf", "twin"]) | st.binary(max_size=30)


def _line(kind: str | bytes, number: int) -> bytes:
    if isinstance(kind, bytes):
        return kind.replace(b"\n", b"")
    custom_id = "twin" if kind == "twin" else f"r-{number}"
    good = json.dumps(request(custom_id)).encode()
    return {"blank": b"", "spaces": b" \t", "broken": good[:-1], "crlf": good + b"\r"}.get(kind, good)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(line_kinds, max_size=60), st.integers(1, 3))
def test_hostile_files_have_each_bad_line_reported_once_and_good_ones_cut_exactly(
    tmp_path: Path, kinds: list[str | bytes], workers_max: int
) -> None:
    lines = [_line(kind, number) for number, kind in enumerate(kinds, start=1)]
    source = write_lines(tmp_path / "in.jsonl", lines)
    output = tmp_path / "out"
    try:
        index = validate(source, output, workers_max)
    except JobRefused:
        numbers = [bad["line"] for bad in report(output)]
        assert numbers
        assert numbers == [None] or numbers == sorted(set(numbers))
        return
    rows = [
        row.line
        for chunk in index.chunks
        for row in chunk_rows(chunk, source.read_range(chunk.offset, chunk.length), set())
    ]
    expected = [number for number, line in enumerate(lines, start=1) if line.strip()]
    assert rows == expected
    assert index.rows == len(expected)
    assert report(output) == []


def test_the_report_is_one_json_object_a_line() -> None:
    problem = Problem(None, None, "empty_file", "x")
    assert json.loads(msgspec.json.encode(problem)) == {
        "line": None,
        "custom_id": None,
        "code": "empty_file",
        "message": "x",
        "param": None,
    }
