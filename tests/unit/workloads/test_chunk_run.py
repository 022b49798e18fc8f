"""One chunk on one engine: what is run, what becomes durable, and what a fault costs."""

from __future__ import annotations

import asyncio
import errno
import json
from typing import TYPE_CHECKING

import pytest
from engines import NoOpEngine
from workload_builders import answered, claim_at, request, write_lines

from tidemill_workloads.chunk_run import ChunkRun, Feeder
from tidemill_workloads.errors import EngineDead, JobRefused, Superseded
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import Chunk
from tidemill_workloads.parts import ERROR, RESULT, ChunkParts

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill_workloads.engine.interface import Answer
    from tidemill_workloads.rows import Row


class RecordingEngine(NoOpEngine):
    """Notes which rows it is asked, and how many at once."""

    def __init__(self) -> None:
        super().__init__(0.001)
        self.asked: list[int] = []
        self.at_once = self.most_at_once = 0
        self.busy = asyncio.Event()

    async def answer(self, row: Row) -> Answer:
        self.asked.append(row.line)
        if len(self.asked) == 10:
            self.busy.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await super().answer(row)
        finally:
            self.at_once -= 1


def make_run(root: Path, names: list[str], slots: int = 8) -> tuple[ChunkRun, RecordingEngine]:
    source = write_lines(root / "in.jsonl", [request(name) for name in names])
    claim = claim_at(root / "out")
    engine = RecordingEngine()
    chunk = Chunk(0, 0, source.identity.size, 1, len(names), len(names))
    feeder = Feeder(engine, source, claim, asyncio.Semaphore(slots))
    return ChunkRun(feeder, chunk, ChunkParts(claim.folder, 0)), engine


async def test_a_fresh_chunk_becomes_one_part_in_line_order(tmp_path: Path) -> None:
    run, engine = make_run(tmp_path, [f"r-{i}" for i in range(20)])
    assert await run.run() == 20
    assert len(run.parts.names()) == 1
    assert [line.line for line in run.parts.lines()] == list(range(1, 21))
    assert run.feeder.tally.completed == 20
    assert (run.feeder.tally.prompt_tokens, run.feeder.tally.completion_tokens) == (60, 40)
    assert run.feeder.tally.in_flight == 0
    assert engine.most_at_once == 8


async def test_only_rows_without_a_line_are_run_and_the_chunk_is_folded(tmp_path: Path) -> None:
    run, engine = make_run(tmp_path, ["a", "b", "c", "d"])
    run.parts.write("000000.old-1.jsonl", [answered(2, note="kept")])
    run.parts.write("000000.old-2.jsonl", [answered(4, ERROR, note="kept")])
    assert await run.run() == 2
    assert sorted(engine.asked) == [1, 3]
    lines = run.parts.answered(range(1, 5))
    assert [b"kept" in lines[number].payload for number in range(1, 5)] == [False, True, False, True]
    assert len(run.parts.names()) == 1
    assert run.feeder.tally.completed == 2


async def test_a_row_that_fails_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, _ = make_run(tmp_path, ["good", "bad-1", "bug-2", "fine"])
    await run.run()
    lines = run.parts.answered(range(1, 5))
    assert [lines[number].kind for number in range(1, 5)] == [RESULT, ERROR, ERROR, RESULT]
    refused, broken = (json.loads(lines[number].payload) for number in (2, 3))
    assert (refused["custom_id"], refused["response"]["status_code"], refused["error"]) == ("bad-1", 400, None)
    assert set(refused["response"]["body"]["error"]) == {"message", "type", "param", "code"}
    assert broken["response"]["status_code"] == 500
    assert "made to raise" in caplog.text
    assert run.feeder.tally.failed == 2


async def test_a_line_that_cannot_be_decoded_becomes_its_own_error_line(tmp_path: Path) -> None:
    run, engine = make_run(tmp_path, ["a", "b"])
    deep = b'{"custom_id":"d","body":' + b"[" * 100_000
    lines = [request("a"), b'{"custom_id": 1}', deep, b"{", request("b")]
    source = write_lines(tmp_path / "in.jsonl", lines)
    run.feeder.source, run.chunk = source, Chunk(0, 0, source.identity.size, 1, 5, 5)
    assert await run.run() == 5
    assert sorted(engine.asked) == [1, 5]
    answers = run.parts.answered(range(1, 6))
    assert [answers[number].kind for number in range(1, 6)] == [RESULT, ERROR, ERROR, ERROR, RESULT]
    response = json.loads(answers[2].payload)["response"]
    assert response["status_code"] == 400
    assert "Line 2 of the input cannot be read as a request" in response["body"]["error"]["message"]


async def test_a_dead_engine_ends_the_run_and_what_was_answered_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_FOLDER", str(tmp_path))
    run, _ = make_run(tmp_path, ["a", "b", "die-1", "c"], slots=1)
    with pytest.raises(EngineDead):
        await run.run()
    assert sorted(run.parts.answered(range(1, 5))) == [1, 2]
    assert run.feeder.tally.in_flight == 0


async def test_a_flush_in_the_middle_makes_answers_durable(tmp_path: Path) -> None:
    run, engine = make_run(tmp_path, [f"r-{i}" for i in range(30)], slots=1)
    task = asyncio.create_task(run.run())
    await engine.busy.wait()
    await run.flush()
    durable = len(run.parts.answered(range(1, 31)))
    assert 0 < durable < 30
    assert run.feeder.tally.completed == durable
    await task
    assert len(run.parts.names()) == 1
    assert run.feeder.tally.completed == 30


async def test_answers_of_a_flush_that_failed_are_written_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, engine = make_run(tmp_path, [f"r-{i}" for i in range(30)], slots=1)
    task = asyncio.create_task(run.run())
    await engine.busy.wait()
    with monkeypatch.context() as full:
        full.setattr(ChunkParts, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            await run.flush()
    assert run.feeder.tally.completed == 0
    await task
    assert sorted(run.parts.answered(range(1, 31))) == list(range(1, 31))
    assert run.feeder.tally.completed == len(engine.asked) == 30


async def test_a_chunk_that_ends_on_a_full_volume_is_refused_so_that_the_job_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = make_run(tmp_path, ["a", "b"])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(JobRefused, match=r"OutputNotWritable: spec\.output\.uri: .*No space left"):
        await run.run()
    assert run.feeder.tally.completed == 0
    assert len(run.answered) == 2


async def test_a_superseded_run_writes_nothing_more(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, ["a", "b"])
    Claim.next(run.feeder.claim.folder)
    with pytest.raises(Superseded):
        await run.run()
    assert run.parts.names() == []


async def test_a_stop_ends_the_feeding_and_keeps_what_was_answered(tmp_path: Path) -> None:
    run, engine = make_run(tmp_path, [f"r-{i}" for i in range(30)], slots=1)
    task = asyncio.create_task(run.run())
    await engine.busy.wait()
    run.feeder.stopping = True
    await task
    assert 9 <= len(run.parts.answered(range(1, 31))) < 30


async def test_chunks_are_fed_in_turn_so_that_the_first_is_whole_first(tmp_path: Path) -> None:
    first, engine = make_run(tmp_path, [f"r-{i}" for i in range(10)], slots=2)
    second = ChunkRun(first.feeder, first.chunk, ChunkParts(first.feeder.claim.folder, 1))
    await asyncio.gather(first.run(), second.run())
    assert engine.asked == [*range(1, 11), *range(1, 11)]


async def test_an_input_that_changed_since_is_refused(tmp_path: Path) -> None:
    run, engine = make_run(tmp_path, ["a", "b"])
    write_lines(tmp_path / "in.jsonl", [request("other"), request("b")])
    with pytest.raises(JobRefused, match="InputChanged"):
        await run.run()
    assert engine.asked == []
