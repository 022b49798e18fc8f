"""One chunk on one engine: what is run, what becomes durable, and what a fault costs."""

from __future__ import annotations

import asyncio
import errno
import json
from typing import TYPE_CHECKING

import pytest
from lane_world import LaneWorld, RecordingEngine
from workload_builders import answered, request, write_lines

from tidemill_workloads.chunk_run import PieceRun
from tidemill_workloads.errors import EngineDead, JobRefused, Superseded
from tidemill_workloads.identity import Claim
from tidemill_workloads.parts import ERROR, RESULT, STARTED, ChunkParts

if TYPE_CHECKING:
    from pathlib import Path


async def run_all(world: LaneWorld, engine: RecordingEngine | None = None) -> RecordingEngine:
    engine = engine or RecordingEngine()
    await world.lane(engine).run()
    return engine


async def test_a_fresh_chunk_becomes_one_part_in_line_order(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, [f"r-{i}" for i in range(20)])
    lane = world.lane(engine := RecordingEngine())
    assert await lane.run() == 20
    assert len(world.parts().names()) == 1
    assert [line.line for line in world.parts().lines()] == list(range(1, 21))
    tally = lane.desk.tally
    assert (tally.completed, tally.prompt_tokens, tally.completion_tokens) == (20, 60, 40)
    assert (lane.pump.held, lane.pump.unfed) == (0, 0)
    assert engine.most_at_once == 8
    assert world.claim.folder.names(STARTED) == [], "no marker outlives work that ended well"


async def test_only_rows_without_a_line_are_run_and_the_chunk_is_folded(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, ["a", "b", "c", "d"])
    world.parts().write("000000.old-1.jsonl", [answered(2, note="kept")])
    world.parts().write("000000.old-2.jsonl", [answered(4, ERROR, note="kept")])
    engine = await run_all(world)
    assert sorted(engine.asked) == [1, 3]
    lines = world.parts().answered(range(1, 5))
    assert [b"kept" in lines[number].payload for number in range(1, 5)] == [False, True, False, True]
    assert len(world.parts().names()) == 1


async def test_a_row_that_fails_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = LaneWorld(tmp_path, ["good", "bad-1", "bug-2", "fine"])
    await run_all(world)
    lines = world.answers()
    assert [lines[number].kind for number in range(1, 5)] == [RESULT, ERROR, ERROR, RESULT]
    refused, broken = (json.loads(lines[number].payload) for number in (2, 3))
    assert (refused["custom_id"], refused["response"]["status_code"], refused["error"]) == ("bad-1", 400, None)
    assert set(refused["response"]["body"]["error"]) == {"message", "type", "param", "code"}
    assert broken["response"]["status_code"] == 500
    assert "made to raise" in caplog.text


async def test_a_line_that_cannot_be_decoded_becomes_its_own_error_line(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, [])
    deep = b'{"custom_id":"d","body":' + b"[" * 100_000
    world.lines([request("a"), b'{"custom_id": 1}', deep, b"{", request("b")])
    engine = await run_all(world)
    assert sorted(engine.asked) == [1, 5]
    answers = world.answers()
    assert [answers[number].kind for number in range(1, 6)] == [RESULT, ERROR, ERROR, ERROR, RESULT]
    response = json.loads(answers[2].payload)["response"]
    assert response["status_code"] == 400
    assert "Line 2 of the input cannot be read as a request" in response["body"]["error"]["message"]


async def test_a_dead_engine_ends_the_lane_and_what_was_answered_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_FOLDER", str(tmp_path))
    world = LaneWorld(tmp_path, ["a", "b", "die-1", "c"], slots=1)
    with pytest.raises(EngineDead):
        await run_all(world)
    assert sorted(world.answers()) == [1, 2]
    assert len(world.claim.folder.names(STARTED)) == 1, "the marker of what was begun stays"


async def test_a_flush_in_the_middle_makes_answers_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill_workloads.lane.FLUSH_SECONDS", 0.01)
    world = LaneWorld(tmp_path, [f"r-{i}" for i in range(60)], slots=1)
    task = asyncio.create_task(run_all(world))
    while not (durable := len(world.answers())):  # noqa: ASYNC110 - the event is a file's
        await asyncio.sleep(0.005)
    assert durable < 60
    await task
    assert len(world.parts().names()) == 1, "a complete chunk is folded"
    assert sorted(world.written()) == list(range(1, 61))


async def test_answers_of_a_flush_that_failed_are_written_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = LaneWorld(tmp_path, [f"r-{i}" for i in range(30)], slots=1)
    lane = world.lane(engine := RecordingEngine())
    task = asyncio.create_task(lane.run())
    await engine.busy.wait()
    (run,) = (run for entry in lane._works.values() for run in entry.pieces)
    with monkeypatch.context() as full:
        full.setattr(ChunkParts, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            await run.flush()
    assert lane.desk.tally.completed == 0
    await task
    assert sorted(world.answers()) == list(range(1, 31))
    assert lane.desk.tally.completed == len(engine.asked) == 30


async def test_a_chunk_that_ends_on_a_full_volume_is_refused_so_that_the_job_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = LaneWorld(tmp_path, ["a", "b"])
    lane = world.lane(RecordingEngine())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ChunkParts, "write", lambda self, *_: self.folder.create("x", b"x"))
    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr("tidemill_workloads.lane.Lane._begin", lambda _, entry: [run.load() for run in entry.pieces])
    with pytest.raises(JobRefused, match=r"OutputNotWritable: spec\.output\.uri: .*No space left"):
        await lane.run()
    assert lane.desk.tally.completed == 0


async def test_a_superseded_lane_writes_nothing_more(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, ["a", "b"])
    Claim.next(world.claim.folder)
    with pytest.raises(Superseded):
        await run_all(world)
    assert world.parts().names() == []


async def test_a_stop_hands_back_in_order_and_keeps_what_was_answered(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, [f"r-{i}" for i in range(2000)], rows_each=100)
    engine = RecordingEngine()
    task = asyncio.create_task(world.lane(engine).run())
    await engine.busy.wait()
    world.coordinator.stopping = True
    await task
    assert 9 <= len(world.answers()) < 2000
    assert len(engine.asked) == len(world.answers()), "rows in flight were given their time"
    assert world.claim.folder.names(STARTED) == []
    assert not any(world.coordinator.ledger.held.values())


async def test_a_stop_does_not_wait_for_a_row_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill_workloads.lane.GRACE_SECONDS", 0.05)
    monkeypatch.setattr("tidemill_workloads.lane.REPORT_SECONDS", 0.02)
    world = LaneWorld(tmp_path, ["a", "b"])
    task = asyncio.create_task(world.lane(RecordingEngine(seconds=3600)).run())
    await asyncio.sleep(0.05)
    world.coordinator.stopping = True
    await asyncio.wait_for(task, 5)
    assert world.answers() == {}
    assert len(world.coordinator.ledger.returned) == 1


async def test_chunks_are_fed_in_turn_so_that_the_first_is_whole_first(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, [f"r-{i}" for i in range(40)], rows_each=10, slots=2)
    engine = await run_all(world)
    assert engine.asked == list(range(1, 41))


async def test_an_input_that_changed_since_is_refused(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, ["a", "b"])
    lane = world.lane(engine := RecordingEngine())
    write_lines(tmp_path / "in.jsonl", [request("other"), request("b")])
    with pytest.raises(JobRefused, match="InputChanged"):
        await lane.run()
    assert engine.asked == []


async def test_two_pieces_of_one_chunk_that_end_together_lose_nothing(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, [f"r-{i}" for i in range(20)])
    world.parts().write("000000.old-1.jsonl", [answered(1)])
    desk = world.lane(RecordingEngine()).desk
    (work,) = world.coordinator.ledger.take("w", 1)
    whole = work.pieces[0]
    halves = [PieceRun(desk, whole.less(range(1, 11))), PieceRun(desk, whole.less(range(11, 21)))]
    for half in halves:
        for row in half.load():
            half.answered.append(answered(row.line))
    await asyncio.gather(*(half.flush(last=True) for half in halves))
    assert sorted(world.answers()) == list(range(1, 21))
