"""What a backlog needs by its deadlines: the arithmetic that everything else stands on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_operator.core.deadline.need import Due, Fleet, seconds_to_finish, work_done, workers_needed

FLEETS = st.builds(Fleet, st.integers(0, 12), st.lists(st.floats(0, 900), max_size=6).map(tuple))
ROWS = st.floats(0.5, 1e6)
RATES = st.floats(0.01, 100)
SPANS = st.floats(1, 1e5)


def test_new_workers_count_only_from_the_end_of_their_start_up() -> None:
    assert workers_needed((Due(1800, 1000),), Fleet(), 1.0, 100) == 2.0


def test_a_running_worker_has_all_the_time() -> None:
    assert workers_needed((Due(1000, 1000),), Fleet(running=1), 1.0, 100) == 1.0


def test_a_worker_that_starts_counts_from_its_readiness() -> None:
    assert workers_needed((Due(950, 1000),), Fleet(0, (50.0,)), 1.0, 100) == 1.0


def test_the_tightest_deadline_decides() -> None:
    loose, tight = Due(100, 10_000), Due(90, 110)
    assert workers_needed((loose, tight), Fleet(), 1.0, 100) == workers_needed((tight,), Fleet(), 1.0, 100) == 9.0


def test_no_number_of_workers_makes_a_deadline_within_the_start_up() -> None:
    assert workers_needed((Due(10, 90),), Fleet(), 1.0, 100) == math.inf
    assert workers_needed((Due(10, -5),), Fleet(3), 1.0, 100) == math.inf


def test_no_row_needs_no_worker() -> None:
    assert workers_needed((Due(0, -5),), Fleet(3), 1.0, 100) == 0.0
    assert workers_needed((), Fleet(3), 1.0, 100) == 0.0


def test_no_worker_never_finishes() -> None:
    assert seconds_to_finish(10, Fleet(), 0, 1.0, 100) == math.inf
    assert seconds_to_finish(0, Fleet(), 0, 1.0, 100) == 0.0


def test_two_new_workers_finish_after_their_start_and_half_the_work() -> None:
    assert seconds_to_finish(100, Fleet(), 2, 1.0, 100) == 150.0


@settings(deadline=None)
@given(ROWS, SPANS, FLEETS, RATES, st.floats(1, 900))
def test_the_workers_needed_are_enough_and_one_less_is_not(
    rows: float, seconds: float, fleet: Fleet, rate: float, startup: float
) -> None:
    need = workers_needed((Due(rows, seconds),), fleet, rate, startup)
    if need == math.inf or need > 10_000:
        return
    new = max(math.ceil(need) - fleet.size, 0)
    assert seconds_to_finish(rows, fleet, new, rate, startup) <= seconds * (1 + 1e-6)
    if new > 1:
        assert seconds_to_finish(rows, fleet, new - 2, rate, startup) > seconds * (1 - 1e-6)


@settings(deadline=None)
@given(ROWS, SPANS, FLEETS, st.floats(1, 900), st.floats(1, 3), st.floats(0, 1))
def test_more_rows_or_less_time_never_need_fewer_workers(
    rows: float, seconds: float, fleet: Fleet, startup: float, more: float, share: float
) -> None:
    need = workers_needed((Due(rows, seconds),), fleet, 1.0, startup)
    assert workers_needed((Due(rows * more, seconds),), fleet, 1.0, startup) >= need
    assert workers_needed((Due(rows, seconds * share),), fleet, 1.0, startup) >= need * (1 - 1e-9)


@settings(deadline=None)
@given(ROWS, FLEETS, st.integers(0, 5), RATES, st.floats(1, 900))
def test_the_fleet_does_just_the_work_by_the_time_that_it_finishes(
    rows: float, fleet: Fleet, new: int, rate: float, startup: float
) -> None:
    seconds = seconds_to_finish(rows, fleet, new, rate, startup)
    if seconds < math.inf:
        assert work_done(fleet, new, startup, seconds) * rate == pytest.approx(rows, rel=1e-6)
