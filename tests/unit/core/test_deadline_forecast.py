"""The forecast of a job, its chance, and why its window is at risk."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.core.deadline_loads import NOW, SURE, UNSURE, a_load, loads

from tidemill_operator.core.deadline.estimates import Estimate
from tidemill_operator.core.deadline.forecast import Forecast, forecast, window_lost
from tidemill_operator.core.deadline.need import Fleet
from tidemill_operator.core.deadline.risk import Cause, Circumstances, risk

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.load import Load

AT_WORK = {"fleet": Fleet(2), "busy": 2}


def test_a_job_at_work_ends_after_the_rows_left_at_its_rate() -> None:
    seen = forecast(a_load(rows=4000.0, **AT_WORK), NOW, planned=2, allowed=8)
    assert seen.finish == NOW + 1000
    assert seen.chance > 0.99
    assert seen.workers_needed == 1


def test_workers_that_are_planned_count_from_the_end_of_their_start_up() -> None:
    seen = forecast(a_load(rows=4000.0), NOW, planned=2, allowed=8)
    assert seen.finish == NOW + 1120


def test_a_job_that_gets_no_worker_never_ends() -> None:
    seen = forecast(a_load(), NOW, planned=0, allowed=0)
    assert (seen.finish, seen.chance) == (math.inf, 0.0)


def test_a_job_without_rows_is_done() -> None:
    seen = forecast(a_load(rows=0.0, rows_waiting=0.0), NOW, planned=0, allowed=0)
    assert (seen.finish, seen.chance, seen.workers_needed) == (NOW, 1.0, 0)


def test_the_chance_is_even_where_the_expected_rate_just_makes_it() -> None:
    load = a_load(rows=2.0 * 2 * 10_800, rate=UNSURE, **AT_WORK)
    assert forecast(load, NOW, planned=2, allowed=2).chance == pytest.approx(0.5)


def test_the_chance_grows_with_how_sure_the_rate_is() -> None:
    load = a_load(rows=30_000.0, **AT_WORK)
    unsure = replace(load, rate=replace(SURE, spread=0.5))
    assert forecast(load, NOW, 2, 2).chance > forecast(unsure, NOW, 2, 2).chance > 0.5


def test_the_chance_counts_on_the_workers_that_the_job_may_still_get() -> None:
    load = a_load(rows=60_000.0, **AT_WORK)
    assert forecast(load, NOW, 2, 8).chance > 0.9
    assert forecast(load, NOW, 2, 2).chance < 0.1


def test_workers_that_come_after_the_end_change_nothing_of_the_chance() -> None:
    load = a_load(rows=2 * 2 * 600 * 0.95, window_end=NOW + 600, startup=Estimate(900.0, 0.5, 5), **AT_WORK)
    assert forecast(load, NOW, 2, 2).chance == pytest.approx(forecast(load, NOW, 8, 8).chance)
    on_their_way = replace(load, fleet=Fleet(2, (700.0, 800.0)))
    assert forecast(on_their_way, NOW, 4, 4).chance == pytest.approx(forecast(load, NOW, 2, 2).chance)


def test_a_window_is_lost_once_not_even_all_workers_meet_it() -> None:
    load = a_load(rows=2.0 * 8 * 10_800, **AT_WORK)
    assert not window_lost(load, NOW)
    assert window_lost(load, NOW + 5000)
    assert window_lost(replace(load, rows=1.0, rows_waiting=1.0), NOW + 10_800)
    assert not window_lost(replace(load, rows=0.0), NOW + 10_800)


@settings(deadline=None)
@given(loads(), st.integers(0, 40), st.integers(0, 40))
def test_more_workers_never_lower_the_chance_or_end_later(load: Load, planned: int, more: int) -> None:
    few = forecast(load, NOW, planned, planned)
    many = forecast(load, NOW, planned + more, planned + more)
    assert 0.0 <= few.chance <= 1.0
    assert many.finish <= few.finish * (1 + 1e-12)


def risk_of(held_up: Circumstances, *, standing: bool = False, **over: object) -> Cause | None:
    load = a_load(**{"rows": 200_000.0, **AT_WORK, **over})
    found = risk(load, forecast(load, NOW, load.most, load.most), held_up, NOW, standing=standing)
    return found.cause if found is not None else None


def test_a_job_in_time_is_at_no_risk_whatever_holds_it_up() -> None:
    assert risk_of(Circumstances(suspended=True, quota=True, failed_share=1.0), rows=100.0) is None


@pytest.mark.parametrize(
    ("held_up", "over", "cause"),
    [
        (Circumstances(suspended=True, quota=True), {}, Cause.SUSPENDED),
        (Circumstances(quota=True, no_room=True), {}, Cause.QUOTA_REACHED),
        (Circumstances(no_room=True, failed_share=0.5), {}, Cause.NO_CAPACITY),
        (Circumstances(failed_share=0.5), {}, Cause.BAD_ROWS),
        (Circumstances(), {"startup": Estimate(9000.0, 0.1), "rows": 100_000.0}, Cause.SLOW_START),
        (Circumstances(usual=Estimate(8.0, 0.3)), {}, Cause.SLOW_RATE),
        (Circumstances(usual=Estimate(1.0, 0.3)), {}, Cause.TOO_FEW_WORKERS),
        (Circumstances(), {}, Cause.TOO_FEW_WORKERS),
    ],
)
def test_the_cause_is_what_would_save_the_window(held_up: Circumstances, over: dict[str, object], cause: Cause) -> None:
    assert risk_of(held_up, **over) is cause


def test_what_would_help_names_the_workers_needed() -> None:
    load = a_load(rows=200_000.0, **AT_WORK)
    found = risk(load, forecast(load, NOW, 8, 8), Circumstances(), NOW, standing=False)
    assert found is not None
    assert "workers.max from 8 to at least 10" in found.help


def test_a_standing_risk_ends_only_once_the_job_is_safe_again() -> None:
    load = a_load(**AT_WORK)
    between = Forecast(finish=NOW + 9000, chance=0.85, workers_needed=2)
    assert risk(load, between, Circumstances(), NOW, standing=False) is None
    assert risk(load, between, Circumstances(), NOW, standing=True) is not None


def test_a_guess_alone_is_no_risk() -> None:
    load = a_load(rate=UNSURE, **AT_WORK)
    unmeasured = Forecast(finish=NOW + 9000, chance=0.6, workers_needed=2)
    assert risk(load, unmeasured, Circumstances(), NOW, standing=False) is None
    assert risk(replace(load, rate=SURE), unmeasured, Circumstances(), NOW, standing=False) is not None
