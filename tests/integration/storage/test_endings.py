"""A job cut short and a job that takes its results over, with their folders on every kind of storage.

An S3 server may go on naming folders in which no object is left: only objects are looked for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from workload_builders import answered, job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_workloads.duplicates import CustomIds
from tidemill_workloads.finishing import finish
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import Chunk, Index
from tidemill_workloads.join import ERRORS_FILE, RESULTS_FILE, survey
from tidemill_workloads.manifest import standing_outcome
from tidemill_workloads.outcomes import Cut
from tidemill_workloads.parts import ERROR, RESULT, ChunkParts
from tidemill_workloads.resubmit import forget_preparations, take_over

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill_workloads.local_storage import LocalInput
    from tidemill_workloads.storage import Folder


def chunks_of_two(root: Path) -> tuple[LocalInput, Index]:
    """Six rows in three chunks."""
    rows = [request(f"r-{number}") for number in range(1, 7)]
    source = write_lines(root / "in.jsonl", rows)
    length = source.identity.size // 3
    chunks = tuple(Chunk(number, number * length, length, 2 * number + 1, 2, 2) for number in range(3))
    return source, Index(source.identity.size, source.identity.mtime_ns, 6, chunks)


def test_a_cancelled_job_is_complete_on_every_storage(folder: Folder, tmp_path: Path) -> None:
    source, index = chunks_of_two(tmp_path)
    ChunkParts(folder, 0).write("000001.a-000001.jsonl", [answered(1), answered(2, ERROR)])
    ChunkParts(folder, 2).write("000001.a-000002.jsonl", [answered(6)])
    assert [chunk.number for chunk in survey(folder, index).unfinished] == [1, 2]
    outcome = finish(job(tmp_path), Claim.next(folder), source, index, Cut(Reason.CANCELLED, "Cancelled."))
    assert (outcome.rows.total, outcome.rows.completed, outcome.rows.failed) == (6, 2, 4)
    assert standing_outcome(folder) == outcome
    assert [json.loads(line)["line"] for line in folder.lines(RESULTS_FILE)] == [1, 6]
    errors = [json.loads(line) for line in folder.lines(ERRORS_FILE)]
    assert [line["custom_id"] for line in errors if "custom_id" in line] == ["r-3", "r-4", "r-5"]
    assert not folder.exists("parts")


def test_answered_lines_are_taken_over_on_every_storage(folder: Folder, tmp_path: Path) -> None:
    _source, index = chunks_of_two(tmp_path)
    line = b'{"custom_id":"r-%d","response":{"status_code":200,"body":{}},"error":null}'
    with folder.writing(RESULTS_FILE) as results:
        results.write(b"".join(line % number + b"\n" for number in (5, 1, 4)))
    ChunkParts(folder, 1).write("000000.validation-000001.jsonl", [answered(4, ERROR)])
    ids = CustomIds()
    for number in range(1, 7):
        ids.add(f"r-{number}", number)
    assert take_over(folder, folder, index, ids) == 2
    assert take_over(folder, folder, index, ids) == 2, "as often as it is repeated"
    found = {number: one for chunk in range(3) for number, one in ChunkParts(folder, chunk).answered(range(7)).items()}
    assert {number: one.kind for number, one in found.items()} == {1: RESULT, 4: ERROR, 5: RESULT}
    assert found[5].payload == line % 5
    assert [chunk.number for chunk in survey(folder, index).unfinished] == [0, 1, 2]
    forget_preparations(folder)
    assert survey(folder, index).totals.rows == 0
