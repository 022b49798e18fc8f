"""Resubmission: what an earlier job answered is taken over byte for byte, and only the rest is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workload_builders import answered, folder_at, job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_workloads import __main__ as entrypoint
from tidemill_workloads import resubmit
from tidemill_workloads.duplicates import CustomIds
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import Chunk, Index, read_index
from tidemill_workloads.join import ERRORS_FILE, RESULTS_FILE, survey
from tidemill_workloads.manifest import MANIFEST_FILE, finalise
from tidemill_workloads.parts import ERROR, RESULT, ChunkParts, PartLine
from tidemill_workloads.resubmit import forget_preparations, open_earlier, take_over

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.local_storage import LocalInput


def result(identifier: str, status: int = 200, created: object = 1_700_000_000) -> bytes:
    """A line of a results file, spelt in a way that only a copy of its bytes keeps."""
    body = {"created": created, "text": "ünd\\u2028"}
    line = {"id": f"batch_req_{identifier}", "custom_id": identifier}
    line |= {"response": {"status_code": status, "request_id": "r", "body": body}, "error": None}
    return json.dumps(line, ensure_ascii=False, separators=(" , ", ": ")).encode()


def earlier_at(root: Path, lines: Iterable[bytes], completed: int = 1) -> str:
    """The output folder of a finished job with those results."""
    folder = folder_at(root / "earlier")
    (root / "earlier" / RESULTS_FILE).write_bytes(b"".join(line + b"\n" for line in lines))
    folder.replace(MANIFEST_FILE, json.dumps({"rows": {"completed": completed}}).encode())
    return str(root / "earlier") + "/"


def prepared(root: Path, ids: Iterable[str], **changes: Any) -> tuple[Claim, Index, LocalInput]:
    """A job over rows of those ids, validated, with the earlier job's lines taken over."""
    source = write_lines(root / "input.jsonl", [request(identifier) for identifier in ids])
    claim = entrypoint.prepare(job(root, **changes))
    assert isinstance(claim, Claim)
    index = read_index(claim.folder)
    assert index is not None
    return claim, index, source


def answer_the_rest(claim: Claim, index: Index, source: LocalInput) -> list[int]:
    """Answers every row that has no line; the line numbers of those rows."""
    ran = []
    for chunk in survey(claim.folder, index).unfinished:
        parts = ChunkParts(claim.folder, chunk.number)
        numbers = set(range(chunk.first_line, chunk.first_line + chunk.rows))
        rest = sorted(numbers - parts.answered(numbers).keys())
        parts.write("000001.a-1.jsonl", [answered(number) for number in rest])
        ran += rest
    return ran


def test_only_rows_without_a_2xx_line_are_run_and_the_files_are_the_whole_merged_result(tmp_path: Path) -> None:
    uri = earlier_at(tmp_path, [result("c"), result("a"), result("gone")])
    config = job(tmp_path, resubmit_of_uri=uri)
    claim, index, source = prepared(tmp_path, ["a", "b", "c", "d"], resubmit_of_uri=uri)
    assert index.taken_over == 2
    assert answer_the_rest(claim, index, source) == [2, 4]
    outcome = finalise(config, claim, index)
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert outcome.message == "All 4 rows are answered (2 of them taken over)."
    assert (outcome.tokens.prompt, outcome.tokens.completion) == (6, 4), "tokens of this job only"
    written = (tmp_path / "output" / RESULTS_FILE).read_bytes().splitlines()
    assert written[0] == result("a")
    assert written[2] == result("c")
    assert [json.loads(written[number])["line"] for number in (1, 3)] == [2, 4]
    manifest = json.loads((tmp_path / "output" / MANIFEST_FILE).read_text())
    assert manifest["rows"]["takenOver"] == 2
    assert manifest["firstAnswerTime"] == "2023-11-14T22:13:20.000Z", "a line keeps the time of its answer"


def test_a_killed_take_over_is_repeated_even_on_a_mended_input(tmp_path: Path) -> None:
    uri = earlier_at(tmp_path, [result("a"), result("b")])
    claim, index, _ = prepared(tmp_path, ["a", "b"], resubmit_of_uri=uri)
    (tmp_path / "output" / "index" / "chunks.jsonl").unlink()  # as if killed just before it was written
    ChunkParts(claim.folder, 0).write("000001.a-1.jsonl", [answered(9)])
    claim, index, _source = prepared(tmp_path, ["new", "b", "a"], resubmit_of_uri=uri, attempt=2)
    assert index.taken_over == 2
    assert [chunk.first_line for chunk in survey(claim.folder, index).unfinished] == [1]
    assert "000001.a-1.jsonl" in ChunkParts(claim.folder, 0).names(), "what was answered is never removed"


def test_lines_that_are_no_results_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill_workloads.resubmit.log.propagate", True)
    broken = [b"{", b"[]", b"\xff", result("b")[:-1], b'{"custom_id":1}', b'{"custom_id":"b"}', b"[" * 20_000]
    broken += [result("b").replace(b"text", b"t\xff"), b'{"custom_id":"b","response":null}']
    fine = [b"", result("b", 500), result("a") + b"\r", result("a")]
    uri = earlier_at(tmp_path, [*broken, *fine])
    claim, index, _source = take(tmp_path, uri, ["a", "b"])
    assert index.taken_over == 1
    assert f"{len(broken)} lines are no results" in caplog.text
    (line,) = ChunkParts(claim.folder, 0).lines()
    assert line.payload == result("a")
    assert survey(claim.folder, index).totals.rows == 1


def take(root: Path, uri: str, ids: list[str]) -> tuple[Claim, Index, LocalInput]:
    """As `prepared`, with the log of this process as the test set it up."""
    return prepared(root, ids, resubmit_of_uri=uri)


@pytest.mark.parametrize(
    ("created", "expected"),
    [(1_700_000_000, 1_700_000_000_000), (1.5, 1500), (None, 0), ("x", 0), (-5, 0), (1e300, 0), ([], 0)],
)
def test_the_time_of_an_answer_is_the_bodys_own_or_unknown(tmp_path: Path, created: object, expected: int) -> None:
    uri = earlier_at(tmp_path, [result("a", created=created)])
    claim, _, _ = prepared(tmp_path, ["a"], resubmit_of_uri=uri)
    assert [line.answered_ms for line in ChunkParts(claim.folder, 0).lines()] == [expected]


def test_a_bad_line_stays_one_whatever_the_earlier_job_answered(tmp_path: Path) -> None:
    """Validation's own error line for a row counts before a line that would be taken over."""
    earlier_at(tmp_path, [result("a"), result("b")])
    write_lines(tmp_path / "input.jsonl", [request("a"), request("b")])
    folder = folder_at(tmp_path / "output")
    index = Index(1, 1, 2, (Chunk(0, 0, 1, 1, 2, 2),), invalid=1)
    ChunkParts(folder, 0).write("000000.validation-000001.jsonl", [answered(2, ERROR)])
    ids = CustomIds()
    ids.add("a", 1)
    ids.add("b", 2)
    assert take_over(folder_at(tmp_path / "earlier"), folder, index, ids) == 1
    answers = ChunkParts(folder, 0).answered([1, 2])
    assert (answers[1].kind, answers[2].kind) == (RESULT, ERROR)
    forget_preparations(folder)
    assert survey(folder, index).totals.rows == 0


def turn_into_a_folder(root: Path) -> None:
    (root / "earlier" / RESULTS_FILE).unlink()
    (root / "earlier" / RESULTS_FILE).mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "earlier" / MANIFEST_FILE).unlink(), "there is no manifest.json in"),
        (lambda root: (root / "earlier" / MANIFEST_FILE).write_text("[]"), "is not a file of Tidemill"),
        (lambda root: (root / "earlier" / RESULTS_FILE).unlink(), "results.jsonl is gone"),
        (turn_into_a_folder, "cannot be read (Is a directory)"),
    ],
)
def test_an_earlier_job_that_is_not_finished_is_waited_for(tmp_path: Path, spoil: Any, words: str) -> None:
    config = job(tmp_path, resubmit_of_uri=earlier_at(tmp_path, [result("a")]))
    spoil(tmp_path)
    write_lines(tmp_path / "input.jsonl", [request("a")])
    with pytest.raises(JobRefused) as caught:
        entrypoint.prepare(config)
    assert caught.value.reason == Reason.RESUBMIT_SOURCE_NOT_READY
    assert words in caught.value.message
    assert caught.value.message.startswith("spec.resubmitOf: ")
    assert not (tmp_path / "output" / "attempts").exists(), "waiting takes no attempt"


@pytest.mark.parametrize(
    ("uri", "words"), [("/nowhere/x/", "lies under no mount"), ("{root}/output/", "is the output")]
)
def test_a_folder_that_cannot_be_an_earlier_jobs_is_refused(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(JobRefused, match=words) as caught:
        open_earlier(job(tmp_path, resubmit_of_uri=uri.format(root=tmp_path)), folder_at(tmp_path / "output"))
    assert caught.value.reason == Reason.INVALID_SPEC


def test_once_validated_the_earlier_job_is_not_needed_any_more(tmp_path: Path) -> None:
    config: JobConfig = job(tmp_path, resubmit_of_uri=earlier_at(tmp_path, [result("a")]))
    prepared(tmp_path, ["a", "b"], resubmit_of_uri=config.resubmit_of_uri)
    (tmp_path / "earlier" / MANIFEST_FILE).unlink()
    assert isinstance(entrypoint.prepare(config), Claim)


def test_an_attempt_that_was_overtaken_while_validating_writes_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*_: object) -> int:
        Claim.next(folder_at(tmp_path / "output"))
        return 0

    monkeypatch.setattr(entrypoint, "take_over", overtaken)
    with pytest.raises(Superseded):
        prepared(tmp_path, ["a"], resubmit_of_uri=earlier_at(tmp_path, [result("a")]))
    assert read_index(folder_at(tmp_path / "output")) is None


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=15
)
@given(
    rows=st.integers(1, 24),
    order=st.permutations(range(30)),
    keep=st.integers(0, 30),
    batch=st.tuples(st.integers(1, 7), st.integers(0, 600)),
    buffer=st.integers(0, 2000),
)
def test_any_order_of_the_earlier_lines_gives_each_row_its_own_line_once(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    order: list[int],
    keep: int,
    batch: tuple[int, int],
    buffer: int,
) -> None:
    root = tmp_path_factory.mktemp("resubmit")
    lines = [result(f"r-{number}") for number in order[:keep]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resubmit, "BATCH_LINES", batch[0])
        patch.setattr(resubmit, "BATCH_BYTES", batch[1])
        patch.setattr(resubmit, "MAX_BUFFER_BYTES", buffer)
        uri = earlier_at(root, lines + lines[:3])
        claim, index, source = prepared(root, [f"r-{number}" for number in range(rows)], resubmit_of_uri=uri)
    expected = {number + 1: result(f"r-{number}") for number in order[:keep] if number < rows}
    found: dict[int, PartLine] = {}
    for chunk in index.chunks:
        found |= ChunkParts(claim.folder, chunk.number).answered(range(chunk.first_line, chunk.first_line + chunk.rows))
    assert {number: line.payload for number, line in found.items()} == expected
    assert index.taken_over == len(expected)
    answer_the_rest(claim, index, source)
    finalise(job(root, resubmit_of_uri=uri), claim, index)
    assert (root / "output" / ERRORS_FILE).read_bytes() == b""
    assert (root / "output" / RESULTS_FILE).read_bytes().count(b"\n") == rows
