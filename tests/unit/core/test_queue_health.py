"""The health of a queue: one definition for jobs and endpoints."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_operator.core.queue_health import HealthReason, Level, Queue, health, worse


@pytest.mark.parametrize(
    ("age", "level", "reason"),
    [
        (0.0, Level.HEALTHY, HealthReason.WITHIN_TARGET),
        (199.9, Level.HEALTHY, HealthReason.WITHIN_TARGET),
        (200.0, Level.WARNING, HealthReason.TWICE_TARGET),
        (299.9, Level.WARNING, HealthReason.TWICE_TARGET),
        (300.0, Level.CRITICAL, HealthReason.THRICE_TARGET),
        (9e9, Level.CRITICAL, HealthReason.THRICE_TARGET),
    ],
)
def test_twice_the_target_is_a_warning_and_thrice_is_critical(age: float, level: Level, reason: HealthReason) -> None:
    seen = health(Queue(depth=5, oldest_age=age, target=100.0))
    assert (seen.level, seen.reason, seen.source_missing) == (level, reason, False)
    assert seen.age_ratio == pytest.approx(age / 100)


def test_an_empty_queue_is_healthy_however_old_its_object_is() -> None:
    seen = health(Queue(depth=0, oldest_age=9e9, target=1.0, arrival_rate=5.0, largest_rate=1.0))
    assert (seen.level, seen.age_ratio, seen.clears_in, seen.never_clears) == (Level.HEALTHY, 0.0, 0.0, False)


def test_more_arrivals_than_the_largest_size_completes_never_clear() -> None:
    seen = health(Queue(3, 1.0, 100.0, arrival_rate=10.0, completion_rate=4.0, largest_rate=8.0))
    assert (seen.level, seen.reason, seen.never_clears) == (Level.WARNING, HealthReason.NEVER_CLEARS, True)
    assert seen.clears_in == math.inf


def test_a_queue_that_grows_now_but_clears_at_its_largest_size_is_healthy() -> None:
    seen = health(Queue(3, 1.0, 100.0, arrival_rate=6.0, completion_rate=4.0, largest_rate=8.0))
    assert (seen.level, seen.never_clears, seen.clears_in) == (Level.HEALTHY, False, math.inf)


def test_a_queue_that_falls_says_when_it_is_empty() -> None:
    assert health(Queue(30, 1.0, 100.0, arrival_rate=1.0, completion_rate=4.0)).clears_in == 10.0


def test_a_critical_queue_that_never_clears_says_its_age_and_that() -> None:
    seen = health(Queue(3, 500.0, 100.0, arrival_rate=10.0, largest_rate=8.0))
    assert (seen.level, seen.reason, seen.never_clears) == (Level.CRITICAL, HealthReason.THRICE_TARGET, True)


@pytest.mark.parametrize("last", list(Level))
def test_a_missing_source_keeps_the_level_that_was_known(last: Level) -> None:
    seen = health(Queue(None, None, 100.0, last=last))
    assert (seen.level, seen.reason, seen.source_missing) == (last, HealthReason.SOURCE_MISSING, True)


def test_a_source_that_was_never_there_is_a_warning() -> None:
    assert health(Queue(None, None, 100.0)).level is Level.WARNING


def test_the_age_of_a_job_counts_on_while_its_source_is_missing() -> None:
    seen = health(Queue(None, 320.0, 100.0, last=Level.HEALTHY))
    assert (seen.level, seen.reason, seen.source_missing) == (Level.CRITICAL, HealthReason.THRICE_TARGET, True)
    calm = health(Queue(None, 20.0, 100.0, last=Level.HEALTHY))
    assert (calm.level, calm.reason) == (Level.HEALTHY, HealthReason.SOURCE_MISSING)


FIGURES = st.one_of(st.none(), st.floats(0, 1e6))


@settings(deadline=None)
@given(st.one_of(st.none(), st.integers(0, 10**9)), FIGURES, st.floats(0.001, 1e6), FIGURES, FIGURES, FIGURES)
def test_a_missing_figure_never_makes_a_queue_look_better(
    depth: int | None,
    age: float | None,
    target: float,
    arrivals: float | None,
    completions: float | None,
    largest: float | None,
) -> None:
    full = health(Queue(depth, age, target, arrivals, completions, largest))
    blind = health(Queue(None, None, target, last=full.level))
    assert worse(blind.level, full.level) is blind.level
    if depth is None:
        assert full.source_missing
        assert full.reason is not HealthReason.WITHIN_TARGET


@settings(deadline=None)
@given(st.integers(1, 1000), st.floats(0, 1e6), st.floats(0.001, 1e4), st.floats(1, 10))
def test_an_older_queue_is_never_healthier(depth: int, age: float, target: float, more: float) -> None:
    young, old = health(Queue(depth, age, target)), health(Queue(depth, age * more, target))
    assert worse(young.level, old.level) is old.level
