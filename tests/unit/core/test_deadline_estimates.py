"""What is known of a worker's speed: prior, other jobs, own rows, and what outliers may do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_operator.core.deadline.estimates import (
    Estimate,
    Measure,
    observed_rate,
    observed_startup,
    rate_estimate,
    rate_prior,
    remaining_start,
    startup_estimate,
    startup_prior,
)

PRIOR = rate_prior(gpu=1)
OTHERS = tuple(Measure(value, 1000) for value in (10.0, 11.0, 9.0, 10.5, 9.5))


def test_before_any_measure_the_prior_stands_with_its_wide_spread() -> None:
    assert rate_estimate(PRIOR) == PRIOR
    assert startup_estimate(startup_prior(0)) == startup_prior(0)
    assert PRIOR.low(1) < PRIOR.value / 2 < PRIOR.value < PRIOR.high(1)


def test_what_other_jobs_measured_takes_over_from_the_prior() -> None:
    one, five = rate_estimate(PRIOR, OTHERS[:1]), rate_estimate(PRIOR, OTHERS)
    assert PRIOR.value < one.value < five.value < 10.5
    assert PRIOR.spread > one.spread > five.spread


def test_the_own_rows_take_over_from_everything_as_they_count() -> None:
    own = [rate_estimate(PRIOR, OTHERS, Measure(2.0, rows)) for rows in (1, 10, 100, 10_000)]
    values = [estimate.value for estimate in own]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(2.0, rel=0.1)
    assert own[-1].spread < 0.1


def test_one_mad_job_among_others_changes_little() -> None:
    mad = rate_estimate(PRIOR, (*OTHERS, Measure(10_000.0, 5000)))
    assert mad.value == pytest.approx(rate_estimate(PRIOR, OTHERS).value, rel=0.1)


def test_jobs_that_differ_widely_leave_the_estimate_unsure() -> None:
    alike = rate_estimate(PRIOR, OTHERS)
    unlike = rate_estimate(PRIOR, tuple(Measure(value, 1000) for value in (2.0, 50.0, 10.0, 30.0, 4.0)))
    assert unlike.spread > 2 * alike.spread


@settings(deadline=None)
@given(st.lists(st.builds(Measure, st.floats(0.01, 1e4), st.floats(1, 1e6)), max_size=8))
def test_the_order_of_the_other_jobs_changes_nothing(others: list[Measure]) -> None:
    backwards = rate_estimate(PRIOR, reversed(others))
    forwards = rate_estimate(PRIOR, others)
    assert backwards.value == pytest.approx(forwards.value)
    assert backwards.spread == pytest.approx(forwards.spread)


def test_a_measure_is_rows_by_worker_seconds() -> None:
    first = observed_rate(None, 10, 20)
    second = observed_rate(first, 30, 20)
    assert first == Measure(0.5, 10)
    assert second == Measure(1.0, 40)


def test_nothing_is_measured_before_the_first_row() -> None:
    assert observed_rate(None, 0, 20) is None
    assert observed_rate(Measure(1.0, 5), 10, 0) == Measure(1.0, 5)


def test_a_stall_slows_the_measure_and_one_alone_not_by_much() -> None:
    steady = Measure(2.0, 1000)
    stalled = observed_rate(steady, 0, 1e6)
    assert stalled is not None
    assert steady.value / 2 < stalled.value < steady.value


def test_rows_that_were_counted_all_at_once_are_clipped() -> None:
    jump = observed_rate(Measure(2.0, 1000), 1e6, 10)
    assert jump is not None
    assert jump.value < 2.2


def test_a_part_with_long_rows_is_not_taken_for_all_that_is_left() -> None:
    """Eight workers answer two hours at 2 rows/s each, then seven minutes at little more than half of it."""
    measure = observed_rate(None, 2 * 8 * 7200, 8 * 7200)
    for _ in range(14):
        measure = observed_rate(measure, 1.2 * 8 * 30, 8 * 30)
    assert measure is not None
    assert measure.value > 1.7


def test_a_lasting_change_takes_over() -> None:
    measure: Measure | None = Measure(2.0, 2000)
    for _ in range(120):
        measure = observed_rate(measure, 8 * 600, 600)
    assert measure is not None
    assert measure.value == pytest.approx(8.0, rel=0.05)


def test_start_ups_are_averaged_and_an_outlier_is_clipped() -> None:
    measure = observed_startup(observed_startup(None, 100), 120)
    assert measure == Measure(110.0, 2)
    assert observed_startup(measure, 1e6).value == pytest.approx((110 * 2 + 330) / 3)


def test_an_overdue_start_is_never_expected_at_once() -> None:
    startup = Estimate(100.0, 0.2)
    assert remaining_start(0, startup) == 100
    assert remaining_start(70, startup) == 30
    assert remaining_start(99, startup) == 20
    assert remaining_start(300, startup) == 60
    assert remaining_start(10_000, startup) == 100


@settings(deadline=None)
@given(st.floats(0.001, 1e4), st.floats(0.1, 1e6), st.floats(0.001, 1e4), st.floats(0.1, 1e6))
def test_an_estimate_lies_between_its_sources(one: float, rows: float, other: float, weight: float) -> None:
    estimate = rate_estimate(PRIOR, (Measure(one, rows),), Measure(other, weight))
    least, most = min(one, other, PRIOR.value), max(one, other, PRIOR.value)
    assert least * 0.999 <= estimate.value <= most * 1.001
    assert 0.0 < estimate.spread <= PRIOR.spread
