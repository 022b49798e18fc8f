"""The health of a queue: one definition for jobs and endpoints."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_operator.core.queue_health import HealthReason, Level, Queue, health

WORSE = list(Level)


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
    assert (seen.level, seen.reason) == (level, reason)
    assert seen.age_ratio == pytest.approx(age / 100)


def test_an_empty_queue_is_healthy_however_old_its_object_is() -> None:
    seen = health(Queue(depth=0, oldest_age=9e9, target=1.0, arrival_rate=5.0, largest_rate=1.0))
    assert (seen.level, seen.age_ratio) == (Level.HEALTHY, 0.0)


@pytest.mark.parametrize("age", [1.0, 250.0])
def test_more_arrivals_than_the_largest_size_completes_never_clear(age: float) -> None:
    seen = health(Queue(3, age, 100.0, arrival_rate=10.0, largest_rate=8.0))
    assert (seen.level, seen.reason) == (Level.WARNING, HealthReason.NEVER_CLEARS)


def test_arrivals_that_the_largest_size_completes_are_no_warning() -> None:
    assert health(Queue(3, 1.0, 100.0, arrival_rate=6.0, largest_rate=8.0)).level is Level.HEALTHY


def test_a_critical_queue_that_never_clears_says_its_age() -> None:
    seen = health(Queue(3, 500.0, 100.0, arrival_rate=10.0, largest_rate=8.0))
    assert (seen.level, seen.reason) == (Level.CRITICAL, HealthReason.THRICE_TARGET)


def test_what_is_not_known_is_not_healthy_and_its_age_counts_on() -> None:
    calm, late = health(Queue(None, 20.0, 100.0)), health(Queue(None, 320.0, 100.0))
    assert (calm.level, calm.reason) == (Level.UNKNOWN, HealthReason.SOURCE_MISSING)
    assert (late.level, late.reason) == (Level.CRITICAL, HealthReason.THRICE_TARGET)


RATES = st.one_of(st.none(), st.floats(0, 1e6))


@settings(deadline=None)
@given(st.integers(0, 10**9), st.floats(0, 1e6), st.floats(0.001, 1e6), RATES, RATES)
def test_a_missing_depth_never_makes_a_queue_look_better(
    depth: int, age: float, target: float, arrivals: float | None, largest: float | None
) -> None:
    full = health(Queue(depth, age, target, arrivals, largest))
    blind = health(Queue(None, age, target, arrivals, largest))
    assert WORSE.index(blind.level) >= WORSE.index(full.level)
    assert blind.level is not Level.HEALTHY


@settings(deadline=None)
@given(st.integers(1, 1000), st.floats(0, 1e6), st.floats(0.001, 1e4), st.floats(1, 10))
def test_an_older_queue_is_never_healthier(depth: int, age: float, target: float, more: float) -> None:
    young, old = health(Queue(depth, age, target)), health(Queue(depth, age * more, target))
    assert WORSE.index(young.level) <= WORSE.index(old.level)
