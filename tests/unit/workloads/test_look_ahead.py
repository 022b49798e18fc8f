"""The law of how many rows a lane holds beside those on its engine, as a table."""

from __future__ import annotations

import pytest

from tidemill_workloads.look_ahead import LookAhead


@pytest.mark.parametrize(
    ("rows_per_second", "delay_seconds", "slots", "rows"),
    [
        (0.0, 0.01, 2, 1),  # nothing is known of a small engine: one row, so that there is a next one
        (0.0, 0.01, 512, 128),  # nor of a large one: a quarter of what it takes
        (1000.0, 0.5, 512, 1000),  # twice the half second that work takes to come
        (1000.0, 30.0, 512, 2000),  # slow work is not outwaited: two seconds' worth at most
        (50_000.0, 1.0, 512, 8192),  # nor is memory filled for a quick engine
    ],
)
def test_it_covers_the_time_that_work_takes_to_come_within_bounds(
    rows_per_second: float, delay_seconds: float, slots: int, rows: int
) -> None:
    assert LookAhead(rows_per_second, delay_seconds).rows(slots) == rows


def test_the_rate_is_measured_over_a_second_or_more() -> None:
    ahead = LookAhead()
    ahead.answered(100, now=50.0)
    assert ahead.rows_per_second == 0.0, "the first word is no measure: it says nothing of since when"
    ahead.answered(400, now=50.5)
    assert ahead.rows_per_second == 0.0
    ahead.answered(700, now=52.0)
    assert ahead.rows_per_second == 300.0
    ahead.answered(700, now=53.0)
    assert ahead.rows_per_second == 0.0


def test_the_delay_is_a_mean_that_forgets() -> None:
    ahead = LookAhead(delay_seconds=0.0)
    for _ in range(40):
        ahead.came(1.0)
    assert ahead.delay_seconds == pytest.approx(1.0, abs=1e-4)
    ahead.came(0.0)
    assert ahead.delay_seconds == pytest.approx(0.75, abs=1e-4)
