"""`onInvalid: Skip`: each bad line gets its error line before the first row is run, so that no worker ever sees it.

Written as parts of the chunks that hold the lines, so that counting, joining and resuming need nothing new. Done before
the index stands: an attempt that is killed in between leaves nothing that counts.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import msgspec

from tidemill_workloads.parts import ERROR, ChunkParts, PartLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tidemill_workloads.identity import Claim
    from tidemill_workloads.index import Chunk
    from tidemill_workloads.problems import Problem

PART_NAME = "000000.validation-{attempt:06d}.jsonl"
"""Sorts before the parts of every attempt, so that its lines are the ones that count."""

BAD_REQUEST = 400
_ERROR_TYPE = "invalid_request_error"


def write_error_lines(claim: Claim, chunks: Sequence[Chunk], problems: Iterable[Problem]) -> None:
    """Makes an error line durable for each of the `problems`, which come in the order of their lines.

    Only before there is an index, and after what an earlier validation left was removed. Raises Superseded.
    """
    now_ms = time.time_ns() // 1_000_000
    for chunk, found in _by_chunk(chunks, problems):
        claim.check()
        lines = [_part_line(problem, now_ms) for problem in found]
        ChunkParts(claim.folder, chunk.number).write(PART_NAME.format(attempt=claim.number), lines)


def _by_chunk(chunks: Sequence[Chunk], problems: Iterable[Problem]) -> Iterator[tuple[Chunk, list[Problem]]]:
    rest = iter(chunks)
    chunk = next(rest)
    found: list[Problem] = []
    for problem in problems:
        while problem.line is not None and problem.line >= chunk.first_line + chunk.lines:
            if found:
                yield chunk, found
            chunk, found = next(rest), []
        found.append(problem)
    if found:
        yield chunk, found


def _part_line(problem: Problem, now_ms: int) -> PartLine:
    return PartLine(problem.line or 0, ERROR, 0, 0, now_ms, _error_line(problem))


def _error_line(problem: Problem) -> bytes:
    """What the vendor's error file holds for a request that is refused; `custom_id` is null where none can be read."""
    error = {"message": problem.message, "type": _ERROR_TYPE, "param": problem.param, "code": problem.code}
    line = {
        "id": f"batch_req_{uuid.uuid4().hex}",
        "custom_id": problem.custom_id,
        "response": {
            "status_code": BAD_REQUEST,
            "request_id": f"req_{uuid.uuid4().hex}",
            "body": {"error": error},
        },
        "error": None,
    }
    return msgspec.json.encode(line)
