"""When a job that may wait works: as late as is safe, in the cheapest hours, and on once it has begun."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.core.deadline_loads import NOW, a_load, loads

from tidemill_operator.core.deadline.estimates import Estimate
from tidemill_operator.core.deadline.hours import MARGIN_SECONDS, MARGIN_SHARE, CheapHours, latest_safe
from tidemill_operator.core.deadline.need import Fleet

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.load import Load

HOUR = 3600.0
DAY = 24 * HOUR
NIGHTS = (CheapHours(NOW + 10 * HOUR, NOW + 18 * HOUR, 0.4), CheapHours(NOW + 34 * HOUR, NOW + 42 * HOUR, 0.4))


def test_a_job_without_cheaper_hours_starts_as_late_as_is_safe() -> None:
    load = a_load(rows=7200.0, window_end=NOW + DAY)
    plan = latest_safe(load, NOW)
    assert plan.workers == 1
    assert NOW + DAY - 1.6 * HOUR < plan.start < NOW + DAY - 1.0 * HOUR
    assert not plan.works_at(NOW)
    assert plan.works_at(plan.start)
    assert plan.finish <= NOW + DAY - 60


def test_a_job_works_in_the_cheaper_hours_alone_where_they_are_enough() -> None:
    plan = latest_safe(a_load(rows=20_000.0, window_end=NOW + 2 * DAY), NOW, NIGHTS)
    assert all(any(hour.start <= start and end <= hour.end for hour in NIGHTS) for start, end in plan.spans)


def test_cheaper_hours_that_are_too_short_are_filled_up_with_others() -> None:
    load = a_load(rows=200_000.0, window_end=NOW + DAY, most=2)
    plan = latest_safe(load, NOW, NIGHTS)
    assert plan.start < NIGHTS[0].start
    assert plan.workers == 2


def test_more_workers_in_cheap_hours_cost_less_than_fewer_in_dear_ones() -> None:
    short = (CheapHours(NOW + HOUR, NOW + 2 * HOUR, 0.2),)
    plan = latest_safe(a_load(rows=20_000.0, window_end=NOW + DAY), NOW, short)
    assert plan.workers > 1
    assert (plan.start >= NOW + HOUR, plan.finish <= NOW + 2 * HOUR) == (True, True)


def test_a_window_that_is_too_near_is_worked_for_at_once_with_everything() -> None:
    plan = latest_safe(a_load(rows=1e6, window_end=NOW + HOUR), NOW, NIGHTS)
    assert (plan.start, plan.workers, plan.works_at(NOW)) == (NOW, 8, True)


def test_a_job_at_work_goes_on_although_its_speed_turned_out_higher() -> None:
    waiting = a_load(rows=7200.0, window_end=NOW + DAY)
    start = latest_safe(waiting, NOW).start
    at_work = replace(waiting, fleet=Fleet(1), busy=1, rate=replace(waiting.rate, value=6.0))
    assert latest_safe(at_work, start + 600).works_at(start + 600)


def test_a_job_at_work_rests_where_cheaper_hours_save_more_than_a_start() -> None:
    load = a_load(rows=30_000.0, window_end=NOW + 2 * DAY, fleet=Fleet(1), busy=1)
    assert not latest_safe(load, NOW, NIGHTS).works_at(NOW)
    almost_done = replace(load, rows=100.0, rows_waiting=100.0)
    assert latest_safe(almost_done, NOW, NIGHTS).works_at(NOW)


def test_no_more_workers_are_counted_on_than_the_rows_fill() -> None:
    few = a_load(rows=100.0, rows_per_worker=256.0, rate=Estimate(0.01, 0.05, 500), window_end=NOW + DAY)
    assert latest_safe(few, NOW).workers == 1


def test_the_planned_idle_time_is_the_time_between_the_spans() -> None:
    load = a_load(rows=100_000.0, window_end=NOW + 2 * DAY, most=1)
    plan = latest_safe(load, NOW, NIGHTS)
    assert plan.idle_seconds(NOW) == pytest.approx(plan.finish - NOW - sum(end - start for start, end in plan.spans))
    assert plan.idle_seconds(plan.finish + 5) == 0.0


def test_a_job_at_work_does_not_rest_for_less_time_than_a_start_takes() -> None:
    """Seven dear seconds before an hour that is cheap enough: to skip them costs a start for which no time is left."""
    unsure = {"rate": Estimate(16.0, spread=1.0), "startup": Estimate(5.0, spread=0.5)}
    load = a_load(rows=305.0, window_end=NOW + 127, most=1, busy=1, fleet=Fleet(1), **unsure)
    plan = latest_safe(load, NOW, [CheapHours(NOW + 7, NOW + 67, 0.5)])
    assert plan.start == NOW
    assert plan.finish <= NOW + 67


@settings(deadline=None)
@given(loads(), st.lists(st.tuples(st.floats(0, 1e5), st.floats(60, 4e4), st.floats(0.1, 1.5)), max_size=4))
def test_a_plan_ends_in_time_wherever_one_fits(load: Load, hours: list[tuple[float, float, float]]) -> None:
    cheap = tuple(CheapHours(NOW + start, NOW + start + length, price) for start, length, price in hours)
    load = replace(load, rows_per_worker=1.0)
    plan = latest_safe(load, NOW, cheap)
    assert plan.start >= NOW
    assert 1 <= plan.workers <= load.most
    assert all(start < end for start, end in plan.spans)
    assert all(one[1] < two[0] for one, two in zip(plan.spans, plan.spans[1:], strict=False))
    late = load.startup.high(1.0)
    ready = 0.0 if load.fleet.running else min(load.fleet.starting, default=late)
    starts = [ready if start <= NOW else late for start, _ in plan.spans]
    usable = sum(max(end - start - wait, 0.0) for (start, end), wait in zip(plan.spans, starts, strict=True))
    end = load.window_end - load.tail_seconds - MARGIN_SECONDS
    there = max(end - NOW - ready, 0.0) * load.most * load.cautious_rate
    if there > load.rows * (1 + MARGIN_SHARE) * (1 + 1e-6):
        assert plan.finish <= end + 1e-6
        assert usable * plan.workers * load.cautious_rate >= load.rows * 0.999
