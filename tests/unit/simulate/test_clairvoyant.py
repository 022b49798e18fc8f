"""The clairvoyant bound: its formula by hand, that nothing goes below it, and which windows are feasible."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from unit.simulate.trace_builders import Always, job, trace

from tidemill_operator.simulate.clairvoyant import feasible, least, least_starts
from tidemill_operator.simulate.policy import Answer
from tidemill_operator.simulate.run import play
from tidemill_operator.simulate.trace import Capacity, Price


class EarliestDeadlineFirst:
    """The plain schedule as a policy: all that there is to who has to be done first."""

    def decide(self, seen):
        left, workers = seen.gpu_limit, {}
        for view in sorted(seen.jobs, key=lambda view: view.deadline):
            workers[view.name] = min(view.max_workers, left)
            left -= workers[view.name]
        return Answer(workers=workers)

    def ended(self, job):
        pass


@pytest.mark.parametrize(
    ("by", "starts"),
    [(3700, 1), (3699, 2), (1900, 2), (1899, 3), (550, 8), (549, None), (100, None), (50, None)],
)
def test_the_least_starts_are_the_work_over_the_time_that_one_start_can_work(by, starts):
    assert least_starts(job(), by) == starts


def test_the_least_workers_of_the_spec_are_started_too():
    assert least_starts(job(min_workers=3), 7200) == 3


def test_the_bound_is_the_work_and_its_starts():
    record = play(trace(job(target=2000.0)), Always(4))
    bound = least(record)
    assert (bound.starts, bound.gpu_hours) == (2, pytest.approx((3600 + 2 * 100) / 3600))
    assert bound.cost == pytest.approx(bound.gpu_hours * 2.0)


def test_to_be_late_lowers_the_bound_instead_of_the_bill():
    record = play(trace(job(target=2000.0)), Always(1))
    assert record.jobs["one"].finished > 2000
    assert least(record).starts == 1


def test_cost_is_bound_by_the_cheapest_hours_until_the_end():
    late = job(schedule="LatestSafe")
    record = play(trace(late, Price(start=3 * 3600, end=4 * 3600, factor=0.5)), Always(1))
    assert least(record).cost == pytest.approx((3600 + 100) / 3600 * 0.5 * 2.0)


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 8), min_size=1, max_size=10),
    rows=st.integers(1, 20000),
    start_up=st.floats(1, 600),
    gpus=st.integers(1, 10),
    target=st.floats(600, 6 * 3600),
    seed=st.integers(0, 10**6),
)
def test_no_run_whatever_its_policy_uses_less_than_the_bound(sizes, rows, start_up, gpus, target, seed):
    noisy = {"row_spread": 0.5, "worker_spread": 0.2, "start_up_spread": 0.3, "start_up": start_up, "target": target}
    jobs = [job(f"j{i}", rows=rows, losses_per_hour=0.2, **noisy) for i in range(2)]
    policy = Always(lambda seen: sizes[int(seen.now // 400) % len(sizes)])
    record = play(trace(*jobs, Price(start=5000, end=9000, factor=0.3), gpus=gpus, seed=seed), policy)
    bound = least(record)
    assert record.gpu_hours >= bound.gpu_hours - 1e-6
    assert record.cost >= bound.cost - 1e-6
    assert record.starts >= bound.starts


def test_a_window_too_short_for_the_workers_allowed_is_not_feasible():
    assert feasible(trace(job("fits", window=560.0), job("does-not", window=540.0))) == {"fits"}


def test_a_budget_too_small_for_all_leaves_the_most_that_go_together():
    jobs = [job(f"j{i}", window=7500.0) for i in range(5)]
    assert len(feasible(trace(*jobs, gpus=2))) == 4  # each takes 3,700 s of one GPU
    assert len(feasible(trace(*jobs, gpus=3))) == 5


def test_a_window_that_the_earliest_deadline_first_misses_is_found_by_the_flow():
    """Both GPUs for the wide job leave the long one, which can use but one at a time, too little time at the end."""
    short = job("short", rows=1800, window=3700.0, max_workers=1)
    wide = job("wide", rows=5400, window=6000.0, max_workers=3)
    long = job("long", rows=5400, window=8000.0, max_workers=1)
    assert feasible(trace(short, wide, long, gpus=2)) == {"short", "wide", "long"}
    record = play(trace(short, wide, long, gpus=2), EarliestDeadlineFirst())
    assert [name for name, one in record.jobs.items() if not one.met] == ["long"]


def test_gpus_that_are_away_make_a_window_infeasible():
    away = (Capacity(time=0.0, gpus=1), Capacity(time=1000.0, gpus=0), Capacity(time=5000.0, gpus=1))
    assert feasible(trace(job(window=7600.0), *away)) == set()
    assert feasible(trace(job(window=7800.0), *away)) == {"one"}


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(100, 8000), min_size=1, max_size=6),
    windows=st.lists(st.floats(600, 9000), min_size=6, max_size=6),
    arrivals=st.lists(st.floats(0, 4000), min_size=6, max_size=6),
    gpus=st.integers(1, 6),
)
def test_what_a_run_meets_is_feasible_where_nothing_is_left_to_chance(rows, windows, arrivals, gpus):
    """The flow leaves out what a real schedule pays on top, so whatever was really done must be in it."""
    jobs = [
        job(f"j{i}", rows=count, arrival=arrivals[i], window=windows[i], max_workers=4) for i, count in enumerate(rows)
    ]
    whole = trace(*jobs, gpus=gpus)
    record = play(whole, Always(1))
    met = {name for name, one in record.jobs.items() if one.met}
    assume(met)
    only = trace(*(one for one in whole.jobs if one.name in met), gpus=gpus)
    assert feasible(only) == met
