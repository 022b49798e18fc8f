"""The size of a job by its deadlines: what must hold for any load, and the cases that show the law."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.core.deadline_loads import NOW, START, UNSURE, a_load, loads

from tidemill_operator.core.deadline.estimates import Estimate
from tidemill_operator.core.deadline.law import Why, held, size_of, window_need
from tidemill_operator.core.deadline.need import Fleet, seconds_to_finish

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.load import Load


@settings(deadline=None)
@given(loads())
def test_the_size_is_never_out_of_its_bounds(load: Load) -> None:
    size = size_of(load, NOW)
    assert load.least <= size.workers <= load.most
    assert 0 <= size.must <= size.workers


@settings(deadline=None)
@given(loads(sure=True))
def test_the_size_is_never_below_the_need_of_the_window_where_a_plan_makes_it(load: Load) -> None:
    load = replace(load, rows_per_worker=1.0)
    need = window_need(load, NOW)
    if need > load.most:
        return
    size = size_of(load, NOW)
    new = max(size.workers - load.fleet.size, 0)
    late = load.startup.high(1.0)
    done = seconds_to_finish(load.rows, load.fleet, new, load.cautious_rate, late)
    in_time = done <= load.seconds_to_window(NOW) * (1 + 1e-6)
    assert in_time or size.workers < math.ceil(need - 1e-6)
    if not in_time:  # the rest comes a minute later, and that is still in time
        rest = _a_minute_later(load, new)
        assert window_need(rest, NOW) <= load.most + 1e-6


@settings(deadline=None)
@given(loads(), st.floats(1, 5))
def test_more_rows_never_want_fewer_workers(load: Load, more: float) -> None:
    larger = replace(load, rows=load.rows + load.rows_waiting * (more - 1), rows_waiting=load.rows_waiting * more)
    assert size_of(larger, NOW).workers >= size_of(load, NOW).workers
    assert size_of(larger, NOW).must >= size_of(load, NOW).must


@settings(deadline=None)
@given(loads(), st.floats(0, 40_000), st.floats(0, 80_000))
def test_earlier_deadlines_never_want_fewer_workers(load: Load, sooner: float, window_sooner: float) -> None:
    target, window = load.target - sooner, load.window_end - window_sooner
    urgent = replace(load, target=min(target, window), window_end=window)
    assert size_of(urgent, NOW).workers >= size_of(load, NOW).workers


@settings(deadline=None)
@given(loads())
def test_a_worker_at_work_is_never_stopped_while_rows_wait_but_for_its_bound(load: Load) -> None:
    assert size_of(load, NOW).workers >= min(load.fleet.running, load.most)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_missing_figures_hold_the_size(size: int) -> None:
    assert (held(size).workers, held(size).must, held(size).why) == (size, size, Why.HELD)


def test_a_loose_deadline_takes_one_worker() -> None:
    size = size_of(a_load(rows=3600.0), NOW)
    assert (size.workers, size.why) == (1, Why.TARGET)


def test_a_tight_target_takes_as_many_as_make_it() -> None:
    size = size_of(a_load(rows=20_000.0), NOW)
    finish = seconds_to_finish(20_000.0, Fleet(), size.workers, 2.0, 120.0)
    fewer = seconds_to_finish(20_000.0, Fleet(), size.workers - 1, 2.0, 120.0)
    assert finish <= 3600 < fewer * 1.05


def test_a_target_that_all_workers_miss_still_takes_all() -> None:
    assert size_of(a_load(rows=200_000.0), NOW).why is Why.ALL


def test_no_worker_starts_for_a_target_that_would_work_less_than_it_takes_to_start() -> None:
    load = a_load(rows=400.0, target=NOW + 60, window_end=NOW + 3600)  # 200 s of work, 120 s of start-up
    assert size_of(load, NOW).workers == 2
    assert size_of(replace(load, rows=200.0, rows_waiting=200.0), NOW).workers == 1


def test_what_is_left_at_the_end_starts_nobody() -> None:
    """A hundred seconds of work left, the target past, the window far: a further worker would come too late."""
    load = a_load(rows=200.0, target=NOW - 10, fleet=Fleet(1), busy=1)
    assert size_of(load, NOW).workers == 1


def test_the_end_of_the_window_takes_whoever_helps_however_short() -> None:
    load = a_load(rows=2000.0, target=NOW + 310, window_end=NOW + 310, fleet=Fleet(1), busy=1, rows_per_worker=1.0)
    size = size_of(load, NOW)
    assert (size.workers, size.why) == (5, Why.WINDOW)


def test_a_need_just_above_the_fleet_starts_nobody() -> None:
    load = a_load(rows=2.04 * 3600 * 1.95, fleet=Fleet(2), busy=2)
    assert size_of(load, NOW).workers == 2


def test_workers_without_rows_leave_at_the_end() -> None:
    load = a_load(rows=12.0, rows_waiting=0.0, fleet=Fleet(4), busy=2)
    assert size_of(load, NOW).workers == 2


def test_no_row_wants_no_worker() -> None:
    load = a_load(rows=0.0, rows_waiting=0.0, fleet=Fleet(4), busy=0, least=2)
    assert (size_of(load, NOW).workers, size_of(load, NOW).why) == (0, Why.DONE)


def test_a_worker_that_starts_leaves_once_the_speed_turns_out_to_be_enough_without_it() -> None:
    slow = a_load(fleet=Fleet(1, (90.0, 100.0)), busy=1, rate=Estimate(0.8, 0.1, 500))
    fast = replace(slow, rate=Estimate(4.0, 0.1, 500))
    assert size_of(slow, NOW).workers == 3
    assert size_of(fast, NOW).workers == 1


def test_a_worker_that_has_most_of_its_start_behind_it_stays() -> None:
    load = a_load(fleet=Fleet(1, (50.0, 100.0)), busy=1, rate=Estimate(4.0, 0.1, 500))
    assert size_of(load, NOW).workers == 2


def test_a_need_of_a_share_of_a_worker_can_wait_and_one_of_whole_workers_cannot() -> None:
    half = size_of(a_load(rows=7200.0), NOW)
    assert (half.must, half.urgent) == (1, 0)
    whole = size_of(a_load(rows=60_000.0), NOW)
    assert whole.urgent in {whole.must, whole.must - 1}
    assert whole.urgent >= 3


def test_a_worker_that_would_come_after_the_last_row_leaves() -> None:
    load = a_load(rows=100.0, fleet=Fleet(1, (300.0,)), busy=1, target=NOW + 10)
    assert size_of(load, NOW).workers == 1


def test_an_unknown_speed_is_measured_by_few_workers_while_there_is_time() -> None:
    assert size_of(a_load(rows=50_000.0, rate=UNSURE, target=NOW + 9000), NOW).workers <= 2
    assert size_of(a_load(rows=50_000.0, rate=UNSURE, target=NOW + 4000, window_end=NOW + 4000), NOW).workers == 8


def test_many_workers_come_in_steps_where_the_deadline_allows() -> None:
    load = a_load(rows=2_000_000.0, target=NOW + 36_000, window_end=NOW + 90_000, most=100, rows_per_worker=1.0)
    first = size_of(load, NOW).workers
    assert first == 4
    second = size_of(replace(load, fleet=Fleet(4), busy=4), NOW).workers
    assert second == 8
    started = Fleet(4, (START.value - 5,) * 4)
    assert size_of(replace(load, fleet=started, busy=4), NOW).workers == 8
    a_minute_later = Fleet(4, (START.value - 61,) * 4)
    assert size_of(replace(load, fleet=a_minute_later, busy=4), NOW).workers == 16


def test_a_deadline_that_does_not_allow_steps_takes_all_at_once() -> None:
    load = a_load(rows=40_000.0, target=NOW + 600, window_end=NOW + 600, most=100, rows_per_worker=1.0)
    assert size_of(load, NOW).workers >= 42


def test_a_boost_multiplies_the_need_within_the_bounds() -> None:
    load = a_load(rows=13_000.0)
    assert size_of(load, NOW).workers == 2
    assert size_of(replace(load, boost=2.0), NOW).workers == 4
    assert size_of(replace(load, boost=2.0, most=3), NOW).workers == 3


def test_a_boost_counts_past_the_target_too_and_not_the_workers_that_it_has_brought() -> None:
    late = a_load(rows=60.0, target=NOW - 60)
    assert size_of(late, NOW).workers == 1
    boosted = size_of(replace(late, boost=1.5), NOW).workers
    assert boosted == 2
    brought = replace(late, boost=1.5, fleet=Fleet(0, (120.0, 120.0)))
    assert size_of(brought, NOW).workers == boosted


def test_planned_idle_hours_are_not_counted_on() -> None:
    busy = a_load(rows=6000.0)
    assert size_of(replace(busy, idle_seconds=1800), NOW).workers > size_of(busy, NOW).workers


def test_a_lowered_bound_stops_workers_at_once() -> None:
    assert size_of(a_load(fleet=Fleet(6), busy=6, most=2), NOW).workers == 2


@pytest.mark.parametrize("waiting", [1.0, 16.0, 40.0])
def test_no_more_workers_than_the_rows_fill(waiting: float) -> None:
    load = a_load(rows=waiting, window_end=NOW + 30_000, target=NOW + 200, rate=Estimate(0.01, 0.05, 500))
    assert size_of(load, NOW).workers == math.ceil(waiting / 8)


def test_for_the_end_of_the_window_even_workers_start_that_the_rows_do_not_fill() -> None:
    """A hundred slow rows: one worker would hold them all and take 20,000 s, where the window leaves two hours."""
    slow = Estimate(0.005, 0.05, 500)
    load = a_load(rows=100.0, rows_per_worker=256.0, window_end=NOW + 7200, rate=slow, most=10)
    assert (load.fillable, load.reach) == (1, 10)
    assert 3 <= size_of(load, NOW).workers <= 4
    assert size_of(replace(load, window_end=NOW + 40_000), NOW).workers == 1


def _a_minute_later(load: Load, new: int) -> Load:
    late = load.startup.high(1.0)
    coming = (*load.fleet.starting, *((late,) * new))
    running = load.fleet.running + sum(ready <= 60 for ready in coming)
    done = 60.0 * load.fleet.running * load.cautious_rate
    fleet = Fleet(running, tuple(ready - 60 for ready in coming if ready > 60))
    return replace(
        load,
        rows=load.rows - done,
        fleet=fleet,
        window_end=load.window_end - 60,
        rate=Estimate(load.cautious_rate, 0.0),
    )
