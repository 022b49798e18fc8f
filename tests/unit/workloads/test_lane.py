"""Lanes and the ledger together: late workers, lost workers, poison, and what a stale writer may do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lane_world import LaneWorld, LongRows, PoisonedEngine, RecordingEngine
from workload_builders import claim_at

from tidemill_workloads.chunk_run import DEADLY_CODE, PieceRun
from tidemill_workloads.coordinator import LOST_SECONDS, Message, Writer
from tidemill_workloads.errors import EngineDead
from tidemill_workloads.identity import Claim
from tidemill_workloads.lane import Leaving
from tidemill_workloads.ledger import Level, Piece
from tidemill_workloads.local_storage import LocalFolder
from tidemill_workloads.parts import ERROR, PARTS, RESULT
from tidemill_workloads.progress import Report
from tidemill_workloads.suspects import plan_work, stale_markers

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from tidemill_workloads.coordinator import Coordinator
    from tidemill_workloads.rows import Row

NAMES = [f"r-{number:03d}" for number in range(200)]


@pytest.fixture(autouse=True)
def quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill_workloads.lane.REPORT_SECONDS", 0.02)
    monkeypatch.setattr("tidemill_workloads.look_ahead.MEASURED_SECONDS", 0.02)


def once_each(counted: Counter[int], rows: int = 200) -> bool:
    return sorted(counted) == list(range(1, rows + 1)) and set(counted.values()) == {1}


async def test_a_worker_that_comes_late_answers_its_share_of_what_is_left(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES, rows_each=5)
    first, second = RecordingEngine(0.01), RecordingEngine(0.01)
    one = asyncio.create_task(world.lane(first, "node-1").run())
    await first.has_asked(60)
    left = 200 - len(first.asked)
    await asyncio.gather(one, world.lane(second, "node-2").run())
    assert len(second.asked) > left / 3
    assert once_each(world.written())


async def test_a_lane_takes_no_more_than_keeps_its_engine_full(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES, rows_each=5, slots=8)
    engine = RecordingEngine(0.01)
    task = asyncio.create_task(world.lane(engine).run())
    most = 0
    while not task.done():
        held = sum(work.rows for works in world.coordinator.ledger.held.values() for work in works.values())
        most = max(most, held)
        await asyncio.sleep(0.002)
    assert engine.most_at_once == 8
    assert most <= 8 + 1600 * 0.05 + 5, "a rate over a short while may read high"


async def test_a_store_slower_than_the_engine_does_not_make_a_lane_hoard_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer work takes to come the more is asked for, and the more is asked for the longer it takes to come."""
    monkeypatch.setattr("tidemill_workloads.look_ahead.MOST_ROWS", 20)
    create = LocalFolder.create

    def slow(folder: LocalFolder, name: str, data: bytes) -> bool:
        time.sleep(0.02)
        return create(folder, name, data)

    monkeypatch.setattr(LocalFolder, "create", slow)
    world = LaneWorld(tmp_path, [f"r-{number:04d}" for number in range(2000)], rows_each=10, slots=8)
    task = asyncio.create_task(world.lane(RecordingEngine(0)).run())
    most = 0
    while not task.done():
        held = sum(work.rows for works in world.coordinator.ledger.held.values() for work in works.values())
        most = max(most, held)
        await asyncio.sleep(0.002)
    assert most < 200, "without a bound it takes nearly all of the 2,000"


async def test_the_rows_of_a_lost_worker_run_before_all_others(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES, rows_each=5)
    hung = RecordingEngine(3600)
    lost = asyncio.create_task(world.lane(hung, "node-1").run())
    await asyncio.sleep(0.05)
    engine = RecordingEngine(0.005)
    other = asyncio.create_task(world.lane(engine, "node-2").run())
    await engine.has_asked(40)
    lost.cancel()
    world.coordinator.look(frozenset({"node-1"}), frozenset(), time.monotonic())
    at = len(engine.asked)
    await other
    assert once_each(world.written())
    position = {line: index for index, line in enumerate(engine.asked)}
    assert max(position[line] for line in hung.asked) < at + 16 + 5 + 1600 * 0.05


async def test_a_writer_that_comes_back_drops_what_others_hold_now(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES[:20], rows_each=5)
    slow = RecordingEngine(0.3)
    first = asyncio.create_task(world.lane(slow, "node-1").run())
    await asyncio.sleep(0.05)
    (writer,) = world.coordinator.writers
    world.coordinator.board.reports[writer] = (time.monotonic() - 2 * LOST_SECONDS, Report(writer, "node-1"))
    world.coordinator.look(frozenset(), frozenset(), time.monotonic())
    second = RecordingEngine()
    await asyncio.gather(world.lane(second, "node-2").run(), first)
    assert set(second.asked) >= set(slow.asked[:5])
    assert sorted(world.answers()) == list(range(1, 21))


async def test_a_drained_node_hands_back_at_once_and_suspects_nobody(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES, rows_each=5)
    engine = RecordingEngine(0.005)
    first = asyncio.create_task(world.lane(engine, "node-1").run())
    await engine.busy.wait()
    world.coordinator.look(frozenset(), frozenset({"node-1"}), time.monotonic())
    with pytest.raises(Leaving):
        await first
    assert len(world.answers()) == len(engine.asked)
    await world.lane(RecordingEngine(), "node-2").run()
    assert once_each(world.written())
    assert all(work.strikes == 0 for work in world.coordinator.ledger.waiting)


@pytest.mark.parametrize("rows_each", [2, 64])
async def test_one_row_that_kills_the_engine_among_64_costs_three_restarts_and_its_own_line(
    tmp_path: Path, rows_each: int
) -> None:
    world = LaneWorld(tmp_path, NAMES[:64], rows_each=rows_each, slots=64)
    await world.work_through(PoisonedEngine(poison=frozenset({23})))
    assert world.starts <= 4
    answers = world.answers()
    assert [line for line in range(1, 65) if answers[line].kind == ERROR] == [23]
    line = json.loads(answers[23].payload)
    assert (line["custom_id"], line["response"], line["error"]["code"]) == ("r-022", None, DEADLY_CODE)
    assert "alone" in line["error"]["message"]


@given(poison=st.frozensets(st.integers(1, 60), max_size=3), rows_each=st.sampled_from([1, 7, 60]))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_rows_are_deadly_all_others_are_answered(
    tmp_path_factory: pytest.TempPathFactory, poison: frozenset[int], rows_each: int
) -> None:
    world = LaneWorld(tmp_path_factory.mktemp("job"), NAMES[:60], rows_each=rows_each, slots=16)
    asyncio.run(world.work_through(PoisonedEngine(poison=poison)))
    answers = world.answers()
    assert {line for line, answer in answers.items() if answer.kind == ERROR} == poison
    assert {line for line, answer in answers.items() if answer.kind == RESULT} == set(range(1, 61)) - poison
    assert world.starts <= 1 + 3 * len(poison)


async def test_a_process_killed_without_a_word_is_looked_into_and_its_rows_are_suspects(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES[:20], rows_each=10, slots=20)
    killed = asyncio.create_task(world.lane(RecordingEngine(3600)).run())
    await asyncio.sleep(0.05)
    killed.cancel()
    engine = RecordingEngine()
    lane = world.lane(engine)
    world.resolve()
    assert [work.rows for _, _, work in sorted(world.coordinator.ledger.returned)] == [5, 5, 5, 5]
    await lane.run()
    assert engine.most_at_once == 5
    assert once_each(world.written(), 20)


async def run_and_kill(world: LaneWorld) -> None:
    """A lane whose driver, and so all that it knew, is lost while its rows are in flight."""
    task = asyncio.create_task(world.lane(RecordingEngine(3600)).run())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_killed_driver_makes_nobody_a_suspect_and_a_second_one_those_in_flight_twice(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES[:40], rows_each=4, slots=4)
    folder = world.claim.folder
    levels = []
    for _ in range(3):
        await run_and_kill(world)
        world.claim = claim_at(tmp_path / "out")
        markers = stale_markers(folder, world.claim.number)
        ledger = plan_work(world.chunks, markers, folder, world.source)
        levels.append(sorted({work.level.name for _, _, work in ledger.returned}))
        world.coordinator.load(ledger, time.monotonic())
        assert sum(work.rows for work in ledger.waiting) + sum(work.rows for _, _, work in ledger.returned) == 40
    assert levels[:2] == [[], ["GROUP"]]
    await world.lane(RecordingEngine()).run()
    assert once_each(world.written(), 40)
    assert all(answer.kind == RESULT for answer in world.answers().values()), "no innocent row is ever condemned"


async def test_a_row_that_takes_the_driver_along_each_time_is_condemned_in_the_end(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES[:9], rows_each=9, slots=9, head_dies_too=True)
    engine = PoisonedEngine(poison=frozenset({5}))
    for _ in range(12):
        lane = world.lane(engine)
        try:
            await lane.run()
        except EngineDead:
            world.claim = claim_at(tmp_path / "out")
            folder = world.claim.folder
            unfinished = world.chunks if len(world.answers()) < 9 else []
            ledger = plan_work(unfinished, stale_markers(folder, world.claim.number), folder, world.source)
            world.coordinator.load(ledger, time.monotonic())
        else:
            break
    assert world.starts == 7, "two deaths at each of three levels, then its error line"
    assert [line for line, answer in world.answers().items() if answer.kind == ERROR] == [5]


async def test_an_engine_that_stands_still_is_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_STALL_SECONDS", "0.1")
    world = LaneWorld(tmp_path, NAMES[:10])
    with pytest.raises(EngineDead, match="no row was answered"):
        await asyncio.wait_for(world.lane(RecordingEngine(3600)).run(), 5)
    returned = [work for _, _, work in world.coordinator.ledger.returned]
    assert sum(work.rows for work in returned if work.exclusive) == 8, "the rows in flight"
    assert sum(work.rows for work in returned) == 10


STORE_IS_BACK = threading.Event()


class StuckFolder(LocalFolder):
    """A store that is down, as a writer sees it that is patient with it: no part is written until it is back."""

    def create(self, name: str, data: bytes) -> bool:
        if name.startswith(PARTS):
            STORE_IS_BACK.wait(30)
        return super().create(name, data)


@contextlib.contextmanager
def store_is_down(world: LaneWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tidemill_workloads.lane.GRACE_SECONDS", 0.05)
    STORE_IS_BACK.clear()
    root = world.root / "out"
    world.claim = Claim(StuckFolder(root, str(root)), world.claim.number)
    try:
        yield
    finally:
        STORE_IS_BACK.set()


async def test_a_store_that_is_down_does_not_hide_that_an_engine_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = LaneWorld(tmp_path, NAMES[:10])
    with store_is_down(world, monkeypatch):
        with pytest.raises(EngineDead):
            await asyncio.wait_for(world.lane(PoisonedEngine(poison=frozenset({10}))).run(), 3)
        returned = [work for _, _, work in world.coordinator.ledger.returned]
        assert any(piece.covers(10) for work in returned if work.exclusive for piece in work.pieces)
        assert sum(work.rows for work in returned) == 10, "what is not durable runs again"


async def test_a_store_that_is_down_does_not_hold_up_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = LaneWorld(tmp_path, NAMES, rows_each=5)
    with store_is_down(world, monkeypatch):
        engine = RecordingEngine(0.005)
        task = asyncio.create_task(world.lane(engine).run())
        await engine.busy.wait()
        world.coordinator.stopping = True
        await asyncio.wait_for(task, 3)
        assert [report.stopped for _, report in world.coordinator.board.reports.values()] == [True]


async def test_a_lane_that_stops_is_waited_for_until_all_it_can_save_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row outlasts the grace, and the store is slow: the driver must not take the lane for gone meanwhile."""
    monkeypatch.setattr("tidemill_workloads.progress.SILENT_SECONDS", 0.2)
    monkeypatch.setattr("tidemill_workloads.lane.GRACE_SECONDS", 1.0)
    create = LocalFolder.create

    def slow(folder: LocalFolder, name: str, data: bytes) -> bool:
        time.sleep(0.4)
        return create(folder, name, data)

    monkeypatch.setattr(LocalFolder, "create", slow)
    world = LaneWorld(tmp_path, NAMES[:20], rows_each=5, slots=20)
    engine = LongRows()
    task = asyncio.create_task(world.lane(engine).run())
    await engine.has_asked(20)
    world.coordinator.stopping = True
    while world.coordinator.look(frozenset(), frozenset(), time.monotonic()).figures.still_writing:  # noqa: ASYNC110 - as the driver looks
        await asyncio.sleep(0.02)
    assert len(world.answers()) == 16, "all but the rows that take too long"
    assert world.claim.folder.names("started") == []
    assert await task == 16


async def test_a_stop_reads_nothing_more_before_it_writes_what_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work waits for one of two threads; what is answered would wait behind it, while a stop has seconds."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    load, loads = PieceRun.load, []

    def slow(run: PieceRun) -> list[Row]:
        loads.append(run.piece)
        time.sleep(0.05)
        return load(run)

    monkeypatch.setattr(PieceRun, "load", slow)
    world = LaneWorld(tmp_path, NAMES, rows_each=1, slots=40)
    engine = RecordingEngine(0.001)
    task = asyncio.create_task(world.lane(engine).run())
    await engine.busy.wait()
    world.coordinator.stopping = True
    begun = len(loads)
    await asyncio.wait_for(task, 10)
    assert len(loads) <= begun + 2 * 3, "those in the threads, and what came before the lane heard of the stop"
    assert len(engine.asked) == len(world.answers())
    assert world.claim.folder.names("started") == []


async def test_a_suspect_waits_until_rows_of_dropped_work_have_left_the_engine(tmp_path: Path) -> None:
    world = LaneWorld(tmp_path, NAMES[:2], rows_each=1)
    engine = RecordingEngine(0.3)
    task = asyncio.create_task(world.lane(engine).run())
    await engine.has_asked(2)
    ledger = world.coordinator.ledger
    (name,) = world.coordinator.writers
    ledger.lose(name, witnessed=False)  # it was silent for long, and others have answered the row meanwhile
    ledger.returned.clear()
    ledger.add((Piece(world.chunks[1], (2,)),), Level.ALONE)
    engine.most_at_once = 0
    await task
    assert engine.asked[2:] == [2]
    assert engine.most_at_once == 1


def writer(name: str, node: str = "n", actor: str = "x") -> Writer:
    return Writer(name, actor, node)


def ask(coordinator: Coordinator, name: str, now: float, want: int = 5) -> list[int]:
    orders = coordinator.exchange(Message(Report(name, "10.0.0.1"), want=want), now)
    return [work.pieces[0].chunk.number for work in orders.works]


def test_a_silent_writer_is_lost_after_half_a_minute_and_a_replaced_one_at_once(tmp_path: Path) -> None:
    coordinator = LaneWorld(tmp_path, NAMES[:40], rows_each=5).coordinator
    coordinator.hello(writer("a", "n1", "x"), 0)
    coordinator.hello(writer("b", "n2", "y"), 0)
    assert ask(coordinator, "a", 1) == [0]
    assert ask(coordinator, "b", 1) == [1]
    coordinator.look(frozenset(), frozenset(), LOST_SECONDS)
    assert ask(coordinator, "b", LOST_SECONDS) == [2]
    coordinator.look(frozenset(), frozenset(), LOST_SECONDS + 2)
    assert ask(coordinator, "b", LOST_SECONDS + 2) == [0]
    coordinator.hello(writer("c", "n3", "y"), LOST_SECONDS + 3)
    assert ask(coordinator, "c", LOST_SECONDS + 3, want=15) == [1, 2, 3]
    assert len(coordinator.ledger.losses) == 1, "chunk 0 was lost with two writers: its rows are looked into"


def test_nothing_is_done_before_the_work_is_loaded_and_a_stopping_job_hands_out_nothing(tmp_path: Path) -> None:
    coordinator = LaneWorld(tmp_path, NAMES[:10]).coordinator
    coordinator.loaded = False
    coordinator.ledger.waiting.clear()
    assert not coordinator.exchange(Message(Report("a", "n"), want=5), 0).done
    coordinator.loaded = True
    assert coordinator.exchange(Message(Report("a", "n"), want=5), 0).done
    coordinator.stopping = True
    assert coordinator.exchange(Message(Report("a", "n"), want=5), 0).stop


def test_a_writer_that_was_struck_off_is_given_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    coordinator = LaneWorld(tmp_path, NAMES[:10], rows_each=5).coordinator
    coordinator.hello(writer("a", "n1", "x"), 0)
    coordinator.hello(writer("b", "n2", "y"), 0)
    assert ask(coordinator, "a", 1) == [0]
    coordinator.look(frozenset({"n1"}), frozenset(), 2)
    assert ask(coordinator, "a", 3) == [], "its last words came late"
    assert ask(coordinator, "b", 3) == [0]
