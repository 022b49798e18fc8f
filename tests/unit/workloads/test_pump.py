"""Retries, the watchdog and the rate, in virtual time."""

from __future__ import annotations

import asyncio
import selectors
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workload_builders import claim_at, write_lines

from tidemill_workloads.chunk_run import Desk, PieceRun
from tidemill_workloads.engine.interface import Answer
from tidemill_workloads.index import Chunk
from tidemill_workloads.ledger import Piece
from tidemill_workloads.parts import ERROR, RESULT
from tidemill_workloads.pump import Pump
from tidemill_workloads.rate import RateMeter
from tidemill_workloads.retries import LONGEST_WAIT_SECONDS, RetryPolicy
from tidemill_workloads.rows import Row
from tidemill_workloads.watchdog import StallClock

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


class InstantSelector(selectors.DefaultSelector):
    """Waits for nothing; notes how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now."""
        self.waited += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock jumps to the next timer."""

    def __init__(self) -> None:
        self.instant = InstantSelector()
        super().__init__(self.instant)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.instant.waited


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@dataclass
class FlakyEngine:
    """Answers each row with the statuses of `script` in turn, then 200; a second an answer, times noted."""

    script: dict[int, list[int]]
    asked: list[tuple[float, int]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def start(self) -> None:
        """Nothing to load."""

    async def answer(self, row: Row) -> Answer:
        """The next status of the row's script."""
        self.asked.append((asyncio.get_running_loop().time(), row.line))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(1)
        self.at_once -= 1
        script = self.script.get(row.line, [])
        return Answer(script.pop(0) if script else 200, b"{}")

    def progress(self) -> int:
        """Cannot tell."""
        return 0

    async def close(self) -> None:
        """Nothing to end."""


def run_of(root: Path, lines: int) -> PieceRun:
    source = write_lines(root / "in.jsonl", [])
    run = PieceRun(Desk(source, claim_at(root / "out")), Piece(Chunk(0, 0, 0, 1, lines, lines)))
    run.begin([Row(line, f"r-{line}", "/v1/x", {}) for line in range(1, lines + 1)])
    return run


async def pumped(run: PieceRun, engine: FlakyEngine, slots: int, retry: RetryPolicy, chance: float) -> Pump:
    pump = Pump(engine, slots, retry, chance=lambda: chance)
    pump.add(run)
    await run.finished.wait()
    assert (pump.held, pump.unfed) == (0, 0)
    return pump


def test_a_fault_that_can_pass_is_tried_again_after_a_doubling_wait(tmp_path: Path) -> None:
    run, engine = run_of(tmp_path, 1), FlakyEngine({1: [503, 429]})
    in_virtual_time(_answer_all(run, engine, 1, RetryPolicy(4, 2), 0.5))
    assert [at for at, _ in engine.asked] == pytest.approx([0, 1 + 1, 3 + 2])
    assert [line.kind for line in run.answered] == [RESULT]


async def _answer_all(run: PieceRun, engine: FlakyEngine, slots: int, retry: RetryPolicy, chance: float) -> None:
    await pumped(run, engine, slots, retry, chance)


def test_a_row_that_waits_holds_no_slot_and_is_tried_before_later_rows(tmp_path: Path) -> None:
    run, engine = run_of(tmp_path, 20), FlakyEngine({1: [500]})
    in_virtual_time(_answer_all(run, engine, 2, RetryPolicy(3, 4), 0.5))
    assert [line for _, line in engine.asked].index(1, 1) in (6, 7, 8), "after 1 + 2 s, at two rows a second"
    assert engine.most_at_once == 2
    assert engine.asked[-1][0] == pytest.approx(10), "no slot was idle for the row that waited"
    assert len(run.answered) == 20


@pytest.mark.parametrize("status", [400, 404, 413, 422, 501])
def test_what_cannot_pass_is_tried_once(tmp_path: Path, status: int) -> None:
    run, engine = run_of(tmp_path, 1), FlakyEngine({1: [status] * 9})
    in_virtual_time(_answer_all(run, engine, 1, RetryPolicy(5, 1), 1.0))
    assert len(engine.asked) == 1
    assert [line.kind for line in run.answered] == [ERROR]


def test_the_last_answer_of_a_row_that_never_succeeds_is_its_line(tmp_path: Path) -> None:
    run, engine = run_of(tmp_path, 1), FlakyEngine({1: [500, 502, 503, 500]})
    in_virtual_time(_answer_all(run, engine, 1, RetryPolicy(3, 1), 0.0))
    assert len(engine.asked) == 3
    assert b'"status_code":503' in run.answered[0].payload


def test_a_dropped_run_waits_for_no_retry(tmp_path: Path) -> None:
    run, engine = run_of(tmp_path, 4), FlakyEngine({1: [500]})

    async def drop() -> None:
        pump = Pump(engine, 1, RetryPolicy(3, 60), chance=lambda: 0.99)
        pump.add(run)
        await asyncio.sleep(1.5)
        pump.drop(run)
        await run.finished.wait()
        assert asyncio.get_running_loop().time() == pytest.approx(2)
        assert (pump.held, pump.unfed) == (0, 0)

    in_virtual_time(drop())
    assert [line.line for line in run.answered] == [2]


@given(
    status=st.integers(400, 599),
    tries=st.integers(1, 200),
    most=st.integers(1, 100),
    backoff=st.floats(0, 3600),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_no_wait_is_longer_than_five_minutes_or_follows_the_last_try(
    status: int, tries: int, most: int, backoff: float, chance: float
) -> None:
    wait = RetryPolicy(most, backoff).wait(status, tries, lambda: chance)
    if tries >= most or (status not in {408, 429} and status < 500):
        assert wait is None
    else:
        assert status in (501, 505) or (wait is not None and 0 <= wait <= LONGEST_WAIT_SECONDS)


@pytest.mark.parametrize("seconds", [1, 60, 61, 150, 300])
def test_each_backoff_that_the_field_takes_is_the_bound_of_the_second_try(seconds: int) -> None:
    policy = RetryPolicy(3, seconds)
    assert policy.wait(503, 1, lambda: 0.999) == pytest.approx(0.999 * seconds)
    assert policy.wait(503, 1, lambda: 0.0) == 0
    assert policy.wait(503, 2, lambda: 0.999) == pytest.approx(0.999 * min(2 * seconds, 300))


def test_an_engine_stalls_only_while_it_is_busy_and_shows_no_progress() -> None:
    clock = StallClock(limit=10)
    assert not clock.stalled(0, busy=True, sign=1)
    assert not clock.stalled(9, busy=True, sign=1)
    assert not clock.stalled(12, busy=True, sign=2)
    assert not clock.stalled(40, busy=False, sign=2)
    assert not clock.stalled(50, busy=True, sign=2)
    assert clock.stalled(51, busy=True, sign=2)


def test_clients_that_give_up_on_a_hung_engine_do_not_excuse_it() -> None:
    clock = StallClock(limit=10, idle_forgives=False)
    for begun in range(0, 60, 20):  # 4 s with a request at hand, then 16 s without
        for second in range(begun, begun + 5):
            hung = clock.stalled(second, busy=True, sign=1)
        assert hung is (begun == 40), "busy times of 4 s add up to 12"
        assert not clock.stalled(begun + 5, busy=False, sign=1) or hung
    assert not clock.stalled(60, busy=True, sign=2), "a step forward begins anew"


def test_the_rate_is_that_of_the_last_minute_of_work() -> None:
    meter = RateMeter()
    for second in range(10):
        meter.add(float(second), 10 * second, busy=True)
    assert meter.rows_per_second is None, "absent until there are 10 s of work"
    for second in range(10, 200):
        meter.add(float(second), 10 * min(second, 100) + 2 * max(0, second - 100), busy=True)
    assert meter.rows_per_second == pytest.approx(2, rel=0.05)
    for second in range(200, 300):
        meter.add(float(second), 1198, busy=False)
    assert meter.rows_per_second == pytest.approx(2, rel=0.05), "a time without workers is no work"
    assert len(meter._seen) < 70
