"""A job that is cut short: one line for each row, whatever stood and whatever was killed on the way."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workload_builders import answered, folder_at, job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_workloads import __main__ as entrypoint
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.finishing import end_job, finish
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import read_index
from tidemill_workloads.join import ERRORS_FILE, RESULTS_FILE
from tidemill_workloads.local_storage import LocalFolder, LocalInput
from tidemill_workloads.manifest import MANIFEST_FILE, finalise, standing_outcome
from tidemill_workloads.outcomes import Cut
from tidemill_workloads.parts import ERROR, RESULT, ChunkParts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidemill_api.job_contract import JobConfig, Outcome
    from tidemill_workloads.index import Index


def validated(root: Path, lines: list[dict[str, Any] | bytes], **changes: Any) -> tuple[Claim, Index]:
    """A job whose input was validated and none of whose rows was run."""
    write_lines(root / "input.jsonl", lines)
    claim = entrypoint.prepare(job(root, **changes))
    assert isinstance(claim, Claim)
    index = read_index(claim.folder)
    assert index is not None
    return claim, index


def answer(claim: Claim, index: Index, kinds: dict[int, bytes], name: str = "000001.a-1.jsonl") -> None:
    """Lines of those kinds for the rows on those lines."""
    for chunk in index.chunks:
        lines = [answered(n, kinds[n]) for n in sorted(kinds) if 0 <= n - chunk.first_line < chunk.lines]
        if lines:
            ChunkParts(claim.folder, chunk.number).write(name, lines)


def input_of(root: Path) -> LocalInput:
    return LocalInput.at(root / "input.jsonl", str(root / "input.jsonl"))


def files(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of the two files."""
    return {
        name: [json.loads(line) for line in (root / "output" / name).read_bytes().splitlines()]
        for name in (RESULTS_FILE, ERRORS_FILE)
    }


def test_a_cancelled_job_has_the_answers_there_were_and_a_line_for_every_other_row(tmp_path: Path) -> None:
    claim, index = validated(tmp_path, [request(f"r-{n}") for n in range(1, 6)])
    answer(claim, index, {1: RESULT, 4: RESULT, 5: ERROR})
    outcome = end_job(job(tmp_path, attempt=2, ending="Cancelled"))
    assert outcome.reason == Reason.CANCELLED
    assert (outcome.rows.total, outcome.rows.completed, outcome.rows.failed) == (5, 2, 3)
    assert outcome.tokens.prompt == 9
    assert outcome.message.startswith(
        "The job was cancelled. 2 of 5 rows are answered, 3 failed, of them 2 not run: see "
    )
    written = files(tmp_path)
    assert [line["line"] for line in written[RESULTS_FILE]] == [1, 4]
    first, second, third = written[ERRORS_FILE]
    assert (first["custom_id"], second["custom_id"], third["line"]) == ("r-2", "r-3", 5)
    assert first["id"].startswith("batch_req_")
    assert first["id"] != second["id"]
    assert list(first) == ["id", "custom_id", "response", "error"]
    assert first["response"] is None
    assert first["error"] == {
        "code": "batch_cancelled",
        "message": "This request was cancelled before it was executed.",
    }
    assert sorted(path.name for path in (tmp_path / "output").iterdir() if path.is_dir()) == ["attempts"]


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        (Reason.EXPIRED, "batch_expired", "could not be executed before the completion window expired"),
        (Reason.TOO_MANY_ROWS_FAILED, "batch_cancelled", "was not executed, the job had ended: Why."),
    ],
)
def test_the_lines_say_why_their_rows_were_not_run(tmp_path: Path, reason: Reason, code: str, words: str) -> None:
    claim, index = validated(tmp_path, [request("a"), b"", request("b")])
    answer(claim, index, {1: RESULT})
    outcome = finish(job(tmp_path), claim, input_of(tmp_path), index, Cut(reason, "Why."))
    assert outcome.reason == reason
    assert outcome.message.startswith("Why. 1 of 2 rows are answered, 1 failed, of them 1 not run: see ")
    (line,) = files(tmp_path)[ERRORS_FILE]
    assert (line["custom_id"], line["error"]["code"]) == ("b", code)
    assert words in line["error"]["message"]


def test_the_manifest_tells_reason_message_and_rows_not_run_to_every_later_attempt(tmp_path: Path) -> None:
    claim, index = validated(tmp_path, [request("a"), request("b")])
    answer(claim, index, {1: ERROR})
    said = end_job(job(tmp_path, attempt=2, ending="Expired"))
    assert said.reason == Reason.EXPIRED
    manifest = json.loads((tmp_path / "output" / MANIFEST_FILE).read_text())
    assert (manifest["reason"], manifest["message"]) == ("Expired", said.message)
    assert (manifest["rows"]["failed"], manifest["rows"]["unanswered"]) == (2, 1)
    assert standing_outcome(folder_at(tmp_path / "output")) == said
    assert end_job(job(tmp_path, attempt=3, ending="Cancelled")) == said, "what stands wins"
    assert entrypoint.prepare(job(tmp_path, attempt=4)) == said


def test_nothing_answered_has_no_time_of_an_answer(tmp_path: Path) -> None:
    validated(tmp_path, [request("a")])
    end_job(job(tmp_path, ending="Cancelled"))
    manifest = json.loads((tmp_path / "output" / MANIFEST_FILE).read_text())
    assert (manifest["firstAnswerTime"], manifest["lastAnswerTime"]) == (None, None)


def test_a_manifest_without_a_reason_still_says_its_outcome(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    rows = {"total": 3, "completed": 2, "failed": 1}
    old = {"version": 1, "rows": rows, "tokens": {"prompt": 1, "completion": 2}}
    folder.create(MANIFEST_FILE, json.dumps(old).encode())
    outcome = standing_outcome(folder)
    assert outcome is not None
    assert (outcome.reason, outcome.rows.failed) == (Reason.SOME_ROWS_FAILED, 1)


def test_a_job_with_every_row_answered_is_done_even_if_it_was_to_be_cut(tmp_path: Path) -> None:
    claim, index = validated(tmp_path, [request("a")])
    answer(claim, index, {1: RESULT})
    assert end_job(job(tmp_path, ending="Cancelled")).reason == Reason.ALL_ROWS_ANSWERED


def test_the_bound_on_failed_rows_holds_at_the_very_end_too(tmp_path: Path) -> None:
    claim, index = validated(tmp_path, [request("a"), request("b")])
    answer(claim, index, {1: ERROR, 2: RESULT})
    outcome = finalise(job(tmp_path, max_failed_rows=0), claim, index)
    assert outcome.reason == Reason.TOO_MANY_ROWS_FAILED
    assert outcome.output.results


@pytest.mark.parametrize("ending", ["Cancelled", "Expired"])
def test_without_a_validated_input_there_are_no_rows_and_no_files(tmp_path: Path, ending: str) -> None:
    outcome = end_job(job(tmp_path, ending=ending))
    assert outcome.reason == ending
    assert outcome.rows.total == 0
    assert not outcome.output.results
    assert not outcome.output.validation
    assert not outcome.awaited
    assert list((tmp_path / "output").iterdir()) == []


def test_a_refused_input_keeps_its_report_when_the_job_is_cancelled(tmp_path: Path) -> None:
    write_lines(tmp_path / "input.jsonl", [b"{"])
    with pytest.raises(JobRefused):
        entrypoint.prepare(job(tmp_path))
    outcome = end_job(job(tmp_path, ending="Cancelled"))
    assert (outcome.reason, outcome.rows.total) == (Reason.CANCELLED, 0)
    assert outcome.output.validation == str(tmp_path / "output" / "validation.jsonl")


def test_a_folder_of_another_job_is_not_touched(tmp_path: Path) -> None:
    validated(tmp_path, [request("a")])
    before = sorted((tmp_path / "output").rglob("*"))
    outcome = end_job(job(tmp_path, name="other", ending="Cancelled"))
    assert (outcome.reason, outcome.rows.total) == (Reason.CANCELLED, 0)
    assert sorted((tmp_path / "output").rglob("*")) == before


def test_the_attempt_that_runs_is_stopped_by_the_one_that_ends_the_job(tmp_path: Path) -> None:
    claim, _ = validated(tmp_path, [request("a")])
    end_job(job(tmp_path, attempt=2, ending="Expired"))
    with pytest.raises(Superseded):
        claim.check()


def gone(path: Path) -> str:
    path.unlink()
    return f"there is no file {path} on the head pod"


def changed(path: Path) -> str:
    write_lines(path, [request("other")])
    return f"{path} was changed after the job began to work on it"


@pytest.mark.parametrize("trouble", [gone, changed])
@pytest.mark.parametrize("ending", ["Cancelled", "Expired"])
def test_a_job_whose_input_is_no_more_ends_with_a_line_for_each_row(
    tmp_path: Path, trouble: Callable[[Path], str], ending: str
) -> None:
    """Line 4 is blank: of the rows about it nobody knows any more on which line they stand."""
    rows = [request("a"), request("b"), request("c"), b"", request("d"), request("e")]
    claim, index = validated(tmp_path, rows)
    answer(claim, index, {1: RESULT, 5: ERROR})
    cause = trouble(tmp_path / "input.jsonl")
    outcome = end_job(job(tmp_path, attempt=2, ending=ending))
    assert (outcome.reason, outcome.rows.completed, outcome.rows.failed) == (ending, 1, 4)
    lacking = f"The lines of 3 rows lack their custom_id, since the input cannot be read (spec.input.uri: {cause})."
    assert lacking in outcome.message
    written = files(tmp_path)
    assert [line["line"] for line in written[RESULTS_FILE]] == [1]
    errors = [line for line in written[ERRORS_FILE] if "custom_id" in line]
    assert [line["line"] for line in written[ERRORS_FILE] if "line" in line] == [5]
    assert [line["custom_id"] for line in errors] == [None] * 3
    assert len({line["id"] for line in errors}) == 3
    told = [line["error"]["message"].partition(" It stands on ")[2] for line in errors]
    why = "of the input, which cannot be read any more, so its custom_id is not known."
    assert told[0] == f"line 2 {why}"
    assert all(place.endswith(why) for place in told)
    assert entrypoint.prepare(job(tmp_path, attempt=3)) == outcome, "the end stands, whatever becomes of the input"


def test_an_input_that_goes_while_the_job_ends_costs_the_names_of_the_rows_after_it_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, index = validated(tmp_path, [request(f"r-{n}") for n in range(1, 5)])
    assert len(index.chunks) == 4
    answer(claim, index, {3: RESULT})
    reads: list[int] = []
    read_range = LocalInput.read_range

    def read(source: LocalInput, offset: int, length: int) -> bytes:
        if len(reads) == 1:
            source.path.unlink()
        reads.append(offset)
        return read_range(source, offset, length)

    monkeypatch.setattr(LocalInput, "read_range", read)
    outcome = finish(job(tmp_path), claim, input_of(tmp_path), index, Cut(Reason.TOO_MANY_ROWS_FAILED, "Why."))
    assert outcome.reason == Reason.TOO_MANY_ROWS_FAILED
    assert "The lines of 2 rows lack their custom_id" in outcome.message
    assert [line["custom_id"] for line in files(tmp_path)[ERRORS_FILE]] == ["r-1", None, None]
    assert len(reads) == 2, "an input that is gone is not asked again"


def test_an_end_waits_for_its_output_even_where_its_input_lies_there(tmp_path: Path) -> None:
    """As where a copied input is read from an output store that is away for a while."""

    class Away:
        def read_range(self, offset: int, length: int) -> bytes:
            raise JobRefused(Reason.STORAGE_UNREACHABLE, "spec.output.uri: s3://out/a/ cannot be reached")

    claim, index = validated(tmp_path, [request("a"), request("b")])
    with pytest.raises(JobRefused, match=r"spec\.output\.uri"):
        finish(job(tmp_path), claim, Away(), index, Cut(Reason.CANCELLED, "Why."))  # type: ignore[arg-type]  # read only
    outcome = finish(job(tmp_path), claim, input_of(tmp_path), index, Cut(Reason.CANCELLED, "Why."))
    assert (outcome.reason, outcome.rows.failed) == (Reason.CANCELLED, 2)
    assert [line["custom_id"] for line in files(tmp_path)[ERRORS_FILE]] == ["a", "b"]


def test_a_job_with_a_line_for_each_row_ends_without_a_look_at_its_input(tmp_path: Path) -> None:
    claim, index = validated(tmp_path, [request("a"), b"", request("b")])
    answer(claim, index, {1: RESULT, 3: RESULT})
    (tmp_path / "input.jsonl").unlink()
    outcome = end_job(job(tmp_path, attempt=2, ending="Expired"))
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert "custom_id" not in outcome.message


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it on the way."""


@dataclass
class MortalFolder:
    """A local folder whose process is killed at the n-th write; a streamed file counts once it is in place."""

    folder: LocalFolder
    calls_left: int
    writes: frozenset[str] = field(default=frozenset({"create", "replace", "delete", "sweep"}))

    def __getattr__(self, name: str) -> Any:
        if name in self.writes:
            self.spend()
        return getattr(self.folder, name)

    def spend(self) -> None:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Killed

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        with self.folder.writing(name) as file:
            yield file
            self.spend()


kinds = st.dictionaries(st.integers(1, 20), st.sampled_from([RESULT, ERROR]))
reasons = st.sampled_from([Reason.CANCELLED, Reason.EXPIRED, Reason.TOO_MANY_ROWS_FAILED])
slow = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=20
)


@slow
@given(parts=st.lists(kinds, max_size=4), rows=st.integers(1, 20), blank=st.integers(1, 20), reason=reasons)
def test_finishing_gives_exactly_one_line_for_each_row(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[dict[int, bytes]],
    rows: int,
    blank: int,
    reason: Reason,
) -> None:
    root = tmp_path_factory.mktemp("finish")
    claim, index, numbers = begun(root, parts, rows, blank)
    outcome = finish(job(root), claim, input_of(root), index, Cut(reason, "Why."))
    counted: dict[int, bytes] = {}
    for part in parts:
        counted |= {line: kind for line, kind in part.items() if line not in counted and line in numbers}
    written = files(root)
    unanswered = [line for line in written[ERRORS_FILE] if "custom_id" in line]
    assert [line["line"] for line in written[RESULTS_FILE]] == sorted(n for n in counted if counted[n] == RESULT)
    assert [line["line"] for line in written[ERRORS_FILE] if "line" in line] == sorted(
        n for n in counted if counted[n] == ERROR
    )
    assert [line["custom_id"] for line in unanswered] == [f"r-{n}" for n in numbers if n not in counted]
    assert outcome.rows.total == rows == len(written[RESULTS_FILE]) + len(written[ERRORS_FILE])
    assert (outcome.rows.completed, outcome.rows.failed) == (len(written[RESULTS_FILE]), len(written[ERRORS_FILE]))


def begun(root: Path, parts: list[dict[int, bytes]], rows: int, blank: int) -> tuple[Claim, Index, list[int]]:
    """A validated job with those parts and a blank line somewhere; the line numbers of its rows."""
    numbers = [line for line in range(1, rows + 2) if line != min(blank, rows + 1)]
    lines = [request(f"r-{line}") if line in numbers else b"" for line in range(1, rows + 2)]
    claim, index = validated(root, lines)
    for turn, part in enumerate(parts):
        answer(claim, index, {line: kind for line, kind in part.items() if line in numbers}, f"00000{turn}.w-1.jsonl")
    return claim, index, numbers


@settings(slow, max_examples=8)
@given(parts=st.lists(kinds, max_size=2), rows=st.integers(1, 12), reason=reasons)
def test_killed_at_any_write_and_run_again_the_files_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, parts: list[dict[int, bytes]], rows: int, reason: Reason
) -> None:
    root = tmp_path_factory.mktemp("killed")
    claim, index, _ = begun(root, parts, rows, 1)
    shutil.copytree(root / "output", root / "begun")
    expected: tuple[bytes, bytes, Outcome] | None = None
    for calls in range(12, -1, -1):
        shutil.rmtree(root / "output")
        shutil.copytree(root / "begun", root / "output")
        mortal = Claim(MortalFolder(claim.folder, calls), claim.number)  # type: ignore[arg-type]  # delegates the rest
        with contextlib.suppress(Killed):
            finish(job(root), mortal, input_of(root), index, Cut(reason, "Why."))
            assert expected is None or calls >= 7
        ended = end_again(root, job(root), index, reason)
        expected = expected or ended
        assert ended == expected


def end_again(root: Path, config: JobConfig, index: Index, reason: Reason) -> tuple[bytes, bytes, Outcome]:
    """The next attempt, which nobody kills: the two files and the outcome."""
    folder = folder_at(root / "output")
    claim = Claim.next(folder)
    outcome = standing_outcome(folder) or finish(config, claim, input_of(root), index, Cut(reason, "Why."))
    assert not (root / "output" / "parts").exists()
    assert not list((root / "output").glob(".tmp-*"))
    return (root / "output" / RESULTS_FILE).read_bytes(), (root / "output" / ERRORS_FILE).read_bytes(), outcome


def test_a_finish_that_comes_second_leaves_the_first_ones_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another attempt finalises while this one reads: parts vanish under it, and rows only seem to be missing."""
    claim, index = validated(tmp_path, [request("a"), request("b")])
    answer(claim, index, {1: RESULT, 2: RESULT})
    later = Claim.next(claim.folder)
    numbers_of = ChunkParts.names

    def names(parts: ChunkParts) -> list[str]:
        if parts.chunk == 1:
            monkeypatch.setattr(ChunkParts, "names", numbers_of)
            monkeypatch.setattr(Claim, "check", lambda _: None)  # the first one had looked just before
            finalise(job(tmp_path), claim, index)
        return numbers_of(parts)

    monkeypatch.setattr(ChunkParts, "names", names)
    monkeypatch.setattr("tidemill_workloads.join.READ_AHEAD", 1)
    outcome = finish(job(tmp_path), later, input_of(tmp_path), index, Cut(Reason.CANCELLED, "Why."))
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert len(files(tmp_path)[RESULTS_FILE]) == 2
    assert files(tmp_path)[ERRORS_FILE] == []
