"""The validating pass: reads the input once, reports every bad line, and lays out the chunks of the others.

Runs in a process of its own on the head, before any worker is paid for. Memory does not grow with the input, but for
16 bytes a row to find duplicates. Writes `validation.jsonl` in every case: empty where all lines are good.
"""

from __future__ import annotations

import heapq
import tempfile
from dataclasses import dataclass
from operator import attrgetter
from typing import IO, TYPE_CHECKING, BinaryIO

import msgspec

from tidemill_workloads.duplicates import CustomIds
from tidemill_workloads.index import ChunkMarks, Index
from tidemill_workloads.line_checks import Rules, check_line, custom_id_of
from tidemill_workloads.problems import DUPLICATE, EMPTY_FILE, TOO_LONG_LINE, Problem
from tidemill_workloads.rows import content
from tidemill_workloads.skipped_lines import write_error_lines
from tidemill_workloads.validation_report import VALIDATION_FILE, read_report, write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidemill_workloads.identity import Claim
    from tidemill_workloads.storage import Input

__all__ = ["VALIDATION_FILE", "Plan", "validate"]

MAX_LINE_BYTES = 64 << 20
"""A longer line is refused unread: it would have to be held in memory, and no request is that long."""

REPORT_EVERY = 1000
"""Lines between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one job asks of its validation. With `skip` bad lines become error lines instead of ending the job."""

    rules: Rules
    workers_max: int
    skip: bool = False


@dataclass(slots=True)
class _Pass:
    """What one streaming pass gathers."""

    rules: Rules
    marks: ChunkMarks
    problems: IO[bytes]
    custom_ids: CustomIds
    rows: int = 0
    bad: int = 0
    line: int = 0
    offset: int = 0


def validate(
    source: Input, claim: Claim, plan: Plan, progress: Callable[[int], None], custom_ids: CustomIds | None = None
) -> Index:
    """The chunk index of an input in which every line can be run, or has its error line already.

    `progress` is told the rows read so far. `custom_ids`, given empty, holds those of all lines afterwards: for whoever
    has to find a row by its id. Raises JobRefused: ValidationFailed where a line is bad (with `plan.skip`: all are) or
    there is none; InputChanged, InputNotReadable.
    """
    with tempfile.TemporaryFile() as problems:
        found = CustomIds() if custom_ids is None else custom_ids
        done = _Pass(plan.rules, ChunkMarks(plan.workers_max), problems, found)
        with source.open() as file:
            for raw, length in _lines(file):
                _judge(done, raw, length)
                done.offset += length
                if done.line % REPORT_EVERY == 0:
                    progress(done.rows)
        progress(done.rows)
        report = write_report(claim.folder, _all_problems(done, source))
    source.open().close()  # the file that was judged is still the file that the job began with
    if report.first is not None and (not plan.skip or report.lines in (0, done.rows)):
        raise report.refusal(done.rows)
    chunks = done.marks.chunks(done.offset, done.line + 1, done.rows)
    if report.lines:
        write_error_lines(claim, chunks, read_report(claim.folder))
    identity = source.identity
    return Index(identity.size, identity.mtime_ns, done.rows, chunks, invalid=report.lines, etag=identity.etag)


def _lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Each physical line and its length in bytes; None for the content of a line that is too long."""
    while raw := file.readline(MAX_LINE_BYTES):
        if len(raw) < MAX_LINE_BYTES or raw.endswith(b"\n"):
            yield raw, len(raw)
            continue
        length = len(raw)
        while (piece := file.readline(MAX_LINE_BYTES)) and not piece.endswith(b"\n"):
            length += len(piece)
        yield None, length + len(piece)


def _judge(done: _Pass, raw: bytes | None, length: int) -> None:
    done.line += 1
    if raw is None:
        done.marks.alone(done.offset, done.line, done.rows, length)
        done.rows += 1
        message = f"This line is longer than {MAX_LINE_BYTES} bytes."
        _note(done, Problem(done.line, None, TOO_LONG_LINE, message))
        return
    stripped = content(raw, done.line)
    if not stripped:
        return
    done.marks.row(done.offset, done.line, done.rows)
    done.rows += 1
    custom_id, bad = check_line(stripped, done.rules)
    if custom_id is not None:
        done.custom_ids.add(custom_id, done.line)
    if bad is not None:
        _note(done, Problem(done.line, custom_id, bad.code, bad.message, bad.param))


def _note(done: _Pass, problem: Problem) -> None:
    done.bad += 1
    done.problems.write(msgspec.json.encode(problem) + b"\n")


def _all_problems(done: _Pass, source: Input) -> Iterator[Problem]:
    """Every bad line once, in line order: a line that is bad by itself is not reported as a duplicate too."""
    if not done.rows and not done.bad:
        message = "The input file is empty. Please ensure that the batch contains at least one request."
        yield Problem(None, None, EMPTY_FILE, message)
        return
    done.problems.seek(0)
    decoder = msgspec.json.Decoder(Problem)
    found = (decoder.decode(line) for line in done.problems)
    previous = None
    for problem in heapq.merge(found, _duplicates(done, source), key=attrgetter("line")):
        if problem.line != previous:
            yield problem
        previous = problem.line


def _duplicates(done: _Pass, source: Input) -> Iterator[Problem]:
    """Later lines with a custom_id seen before. Reads the input again for their ids, only where there are any."""
    duplicates = done.custom_ids.duplicates()
    line, first = next(duplicates, (0, 0))
    if not line:
        return
    with source.open() as file:
        for number, (raw, _) in enumerate(_lines(file), start=1):
            if number == line:
                custom_id = custom_id_of(content(raw or b"", number))
                message = f"The custom_id of this line is a duplicate of line {first}; each must be unique in the file."
                yield Problem(line, custom_id, DUPLICATE, message, "custom_id")
                line, first = next(duplicates, (0, 0))
                if not line:
                    return
