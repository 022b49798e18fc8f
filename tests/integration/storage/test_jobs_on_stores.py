"""A whole job on each kind of store, answered by hand: validated, cut short, taken over by another one, finished."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from workload_builders import PartLine, job, request

from tidemill_api.conditions import Reason
from tidemill_workloads import __main__ as entrypoint
from tidemill_workloads.finishing import end_job
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import read_index
from tidemill_workloads.locations import open_input
from tidemill_workloads.manifest import finalise
from tidemill_workloads.object_storage import ObjectFolder
from tidemill_workloads.parts import RESULT, ChunkParts
from tidemill_workloads.rows import line_numbers

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill_api.job_contract import JobConfig, Outcome
    from tidemill_workloads.index import Index

ROWS = 90


@pytest.fixture
def home(folder: object) -> ObjectFolder:
    """A folder on a store with an input in it."""
    if not isinstance(folder, ObjectFolder):
        pytest.skip("files have tests of their own")
    rows = (json.dumps(request(f"r-{number}")).encode() + b"\n" for number in range(ROWS))
    assert folder.create("in.jsonl", b"".join(rows))
    return folder


def answer(claim: Claim, config: JobConfig, until: int) -> Index:
    """Gives the rows before line `until` a result line each, as an engine's actor would."""
    index = read_index(claim.folder)
    assert index is not None
    source = open_input(config.input_uri, [])
    for chunk in index.chunks:
        names = [f'{{"id":"x-{line}","custom_id":"r-{line - 1}","response":{{"status_code":200}},"error":null}}'
                 for line in line_numbers(source, chunk)]  # fmt: skip
        lines = [
            PartLine(line, RESULT, 3, 2, 1_700_000_000_000 + line, name.encode())
            for line, name in zip(line_numbers(source, chunk), names, strict=True)
            if line < until
        ]
        if lines:
            ChunkParts(claim.folder, chunk.number).write(f"{claim.number:06d}.w-000001.jsonl", lines)
    return index


def begun(config: JobConfig) -> Claim:
    """A validated attempt."""
    claim = entrypoint.prepare(config)
    assert isinstance(claim, Claim)
    return claim


def ids(folder: ObjectFolder, name: str) -> list[str]:
    return [json.loads(line)["custom_id"] for line in folder.lines(name)]


def test_a_job_on_a_store_is_cut_short_taken_over_and_finished(home: ObjectFolder, tmp_path: Path) -> None:
    config = job(tmp_path, input_uri=home.uri("in.jsonl"), output_uri=home.uri("first/"))
    first = begun(config)
    answer(first, config, until=61)
    cancelled = end_job(config.model_copy(update={"ending": "Cancelled", "attempt": 2}))
    assert (cancelled.reason, cancelled.rows.completed, cancelled.rows.failed) == (Reason.CANCELLED, 60, 30)
    assert cancelled.output.results == home.uri("first/results.jsonl")
    assert ids(home, "first/results.jsonl") == [f"r-{number}" for number in range(60)]
    assert ids(home, "first/errors.jsonl") == [f"r-{number}" for number in range(60, ROWS)]
    there = [name for name in home.names("first") if home.exists(f"first/{name}")]
    assert there == ["attempts", "errors.jsonl", "job.json", "manifest.json", "results.jsonl", "validation.jsonl"]
    assert entrypoint.prepare(config) == cancelled, "a second run runs nothing"

    again = job(
        tmp_path,
        name="again",
        input_uri=home.uri("in.jsonl"),
        output_uri=home.uri("second/"),
        resubmit_of_uri=home.uri("first/"),
    )
    claim = begun(again)
    index = answer(claim, again, until=ROWS + 1)
    assert index.taken_over == 60
    outcome: Outcome = finalise(again, claim, index)
    assert (outcome.reason, outcome.rows.completed) == (Reason.ALL_ROWS_ANSWERED, ROWS)
    assert ids(home, "second/results.jsonl") == [f"r-{number}" for number in range(ROWS)]
