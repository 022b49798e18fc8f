"""When a job's turn comes, against figures worked out by hand and what must hold of any jobs."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_operator.core.deadline.estimates import Estimate
from tidemill_operator.core.deadline.load import Load
from tidemill_operator.core.deadline.need import Fleet
from tidemill_operator.core.deadline.turns import Turn, Work, forecast_in_turn, turns

HOUR = 3600.0


def work(key, hours, by, most=8, cost=1.0):
    return Work(key, hours * HOUR, most, cost, by * HOUR)


def test_alone_nobody_waits():
    assert turns([work("a", 8, 4)], 16) == {"a": Turn(8, 0.0)}
    assert turns([work("a", 8, 4)], 4) == {"a": Turn(4, 0.0)}


def test_who_ends_later_waits_for_those_before():
    so = turns([work("late", 4, 9), work("soon", 8, 3)], 4)
    assert so["soon"] == Turn(4, 0.0)
    assert so["late"] == Turn(4, 2 * HOUR)


def test_who_has_lost_its_window_keeps_nobody_waiting():
    so = turns([Work("lost", 8 * HOUR, 8, 1.0, 0.0, lost=True), work("good", 4, 9)], 4)
    assert so["good"] == Turn(4, 0.0)
    assert so["lost"] == Turn(4, HOUR)


def test_what_others_cannot_use_is_worked_in_beside_them():
    """One GPU for the first, which may have no more, leaves three for the second at once."""
    so = turns([work("narrow", 2, 3, most=1), work("wide", 6, 9, most=3)], 4)
    assert so["wide"] == Turn(3, 0.0)


def test_without_a_budget_or_without_gpus_nobody_waits():
    both = [work("a", 80, 4), work("b", 80, 5)]
    assert {turn.waits for turn in turns(both, None).values()} == {0.0}
    assert {turn.waits for turn in turns([work("a", 80, 4, cost=0.0), work("b", 9, 5, cost=0.0)], 1).values()} == {0.0}


def test_a_worker_that_the_budget_cannot_hold_waits_for_ever():
    assert turns([work("big", 1, 4, cost=8.0)], 4) == {"big": Turn(0, math.inf)}


def load(rows, window_hours, running=0):
    rate, startup = Estimate(1.0, 0.05, 1000), Estimate(60.0, 0.1, 10)
    end = window_hours * HOUR
    return Load(rows, rows, 256, running, end / 3, end, 0, 8, Fleet(running), rate, startup)


def test_a_job_that_waits_for_its_turn_in_good_time_is_not_at_risk_and_one_whose_turn_comes_too_late_is():
    waiting = load(rows=3 * 3600, window_hours=6)
    in_time = forecast_in_turn(waiting, 0.0, 0, Turn(4, 3 * HOUR))
    too_late = forecast_in_turn(waiting, 0.0, 0, Turn(4, 5.5 * HOUR))
    assert in_time.chance > 0.95
    assert 3 * HOUR < in_time.finish < 6 * HOUR
    assert too_late.chance < 0.05


def test_a_job_at_work_ends_by_the_workers_it_has_whoever_comes_before_it():
    at_work = forecast_in_turn(load(rows=3600, window_hours=6, running=1), 0.0, 1, Turn(4, 5.9 * HOUR))
    assert at_work.finish == pytest.approx(HOUR)
    assert at_work.chance > 0.95


def test_a_job_that_never_gets_a_worker_never_ends():
    never = forecast_in_turn(load(rows=3600, window_hours=6), 0.0, 0, Turn(0, math.inf))
    assert (never.finish, never.chance) == (math.inf, 0.0)


JOBS = st.lists(
    st.tuples(st.floats(0, 50), st.integers(1, 48), st.integers(1, 8), st.sampled_from([1.0, 2.0])), max_size=8
)


@given(jobs=JOBS, budget=st.integers(2, 32), data=st.data())
def test_order_changes_nothing_and_more_budget_never_makes_anyone_wait_longer_for_its_end(jobs, budget, data):
    works = [work(f"j{i}", hours, by, most, cost) for i, (hours, by, most, cost) in enumerate(jobs)]
    so = turns(works, budget)
    assert turns(data.draw(st.permutations(works)), budget) == so
    richer = turns(works, budget * 2)
    for one in works:
        ends = [turn.waits + one.seconds / turn.workers for turn in (so[one.key], richer[one.key])]
        assert ends[1] <= ends[0] + 1e-6


@given(jobs=JOBS, budget=st.integers(2, 32))
def test_no_turn_promises_more_than_the_budget_can_do(jobs, budget):
    works = [work(f"j{i}", hours, by, most, cost) for i, (hours, by, most, cost) in enumerate(jobs)]
    so = turns(works, budget)
    ordered = sorted(works, key=lambda one: (one.deadline, one.key))
    for count, one in enumerate(ordered, 1):
        end = so[one.key].waits + one.seconds / so[one.key].workers
        assert sum(other.seconds * other.cost for other in ordered[:count]) <= budget * end + 1e-3


def test_workers_that_no_row_is_left_for_are_not_counted_on():
    """A hundred rows that one worker holds, a hundred minutes of its work: seven idle ones make it no sooner."""
    rate, startup = Estimate(1 / 60, 0.05, 1000), Estimate(60.0, 0.1, 10)
    held = Load(100, 0, 256, 1, HOUR / 3, HOUR, 0, 8, Fleet(1), rate, startup)
    assert forecast_in_turn(held, 0.0, 1, Turn(8, 0.0)).chance < 0.01
    assert forecast_in_turn(replace(held, rows_waiting=100), 0.0, 1, Turn(8, 0.0)).chance > 0.99
