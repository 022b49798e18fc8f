"""The validating pass: reads the input once, reports every bad line, and lays out the chunks of a good one.

Runs in a process of its own on the head, before any worker is paid for. Memory does not grow with the input, but for
16 bytes a row to find duplicates. Writes `validation.jsonl` in every case: empty where all lines are good.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from typing import IO, TYPE_CHECKING, BinaryIO

import msgspec

from tidemill_api.conditions import Reason
from tidemill_workloads.duplicates import CustomIds
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.index import ChunkMarks, Index
from tidemill_workloads.line_checks import DUPLICATE, EMPTY_FILE, Problem, check_line, custom_id_of
from tidemill_workloads.rows import content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tidemill_workloads.storage import Folder, Input

VALIDATION_FILE = "validation.jsonl"
MAX_LINE_BYTES = 64 << 20
"""A longer line is refused unread: it would have to be held in memory, and no request is that long."""

REPORT_EVERY = 1000
"""Lines between two reports of progress."""


@dataclass(slots=True)
class _Pass:
    """What one streaming pass gathers."""

    marks: ChunkMarks
    problems: IO[bytes]
    custom_ids: CustomIds
    rows: int = 0
    bad: int = 0
    line: int = 0
    offset: int = 0


def validate(
    source: Input,
    folder: Folder,
    model: str,
    workers_max: int,
    progress: Callable[[int], None],
    custom_ids: CustomIds | None = None,
) -> Index:
    """The chunk index of an input in which every line can be run; `progress` is told the rows read so far.

    `custom_ids`, given empty, holds those of all lines afterwards: for whoever has to find a row by its id.
    Raises JobRefused: ValidationFailed where a line is bad or there is none, InputChanged, InputNotReadable.
    """
    with tempfile.TemporaryFile() as problems:
        done = _Pass(ChunkMarks(workers_max), problems, CustomIds() if custom_ids is None else custom_ids)
        with source.open() as file:
            for raw, length in _lines(file):
                _judge(done, raw, model)
                done.offset += length
                if done.line % REPORT_EVERY == 0:
                    progress(done.rows)
        progress(done.rows)
        _report(folder, _all_problems(done, source))
    source.open().close()  # the file that was judged is still the file that the job began with
    chunks = done.marks.chunks(done.offset, done.line + 1, done.rows)
    return Index(source.identity.size, source.identity.mtime_ns, done.rows, chunks, etag=source.identity.etag)


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


def _judge(done: _Pass, raw: bytes | None, model: str) -> None:
    done.line += 1
    if raw is None:
        _note(done, Problem(done.line, None, "line_too_long", f"This line is longer than {MAX_LINE_BYTES} bytes."))
        return
    stripped = content(raw, done.line)
    if not stripped:
        return
    done.marks.row(done.offset, done.line, done.rows)
    done.rows += 1
    custom_id, bad = check_line(stripped, model)
    if custom_id is not None:
        done.custom_ids.add(custom_id, done.line)
    if bad is not None:
        _note(done, Problem(done.line, custom_id, bad.code, bad.message))


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
                yield Problem(line, custom_id, DUPLICATE, message)
                line, first = next(duplicates, (0, 0))
                if not line:
                    return


def _report(folder: Folder, problems: Iterable[Problem]) -> None:
    """Writes `validation.jsonl`. Raises JobRefused(ValidationFailed) where there is anything in it."""
    codes: Counter[str] = Counter()
    first: Problem | None = None
    with folder.writing(VALIDATION_FILE) as file:
        for problem in problems:
            first = first or problem
            codes[problem.code] += 1
            file.write(msgspec.json.encode(problem) + b"\n")
    if first is not None:
        raise _refusal(codes, first, folder.uri(VALIDATION_FILE))


def _refusal(codes: Counter[str], first: Problem, report: str) -> JobRefused:
    if first.line is None:
        return JobRefused(Reason.VALIDATION_FAILED, f"spec.input.uri: {first.message}")
    count = codes.total()
    by_code = ", ".join(f"{number} {code}" for code, number in codes.most_common())
    message = (
        f"{count} {'line is' if count == 1 else 'lines are'} not a valid request ({by_code}), first line {first.line}: "
        f"{first.message} All are listed in {report}; mend the input and create the job again"
    )
    return JobRefused(Reason.VALIDATION_FAILED, message, invalid_lines=count)
