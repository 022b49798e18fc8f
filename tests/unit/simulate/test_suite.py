"""The suite holds the law to its bounds, and a deliberately bad law fails it."""

import time

import pytest
from unit.simulate.trace_builders import Always, job, trace

from tidemill_operator.simulate import suite
from tidemill_operator.simulate.deadline_policy import DeadlinePolicy
from tidemill_operator.simulate.generators import GENERATORS, crowd_of_jobs
from tidemill_operator.simulate.policy import Said
from tidemill_operator.simulate.run import play


class Lazy:
    """A bad law: one worker for each job, whatever its window."""

    def decide(self, seen):
        return Always(1).decide(seen)

    def ended(self, job):
        pass


class Wasteful(DeadlinePolicy):
    """A bad law: half as many again, and those sent away every quarter of an hour."""

    def decide(self, seen):
        answer = super().decide(seen)
        factor = 1.5 if seen.now % 1800 < 900 else 1.0
        most = {view.name: view.max_workers for view in seen.jobs}
        answer.workers = {name: min(round(size * factor + 0.4), most[name]) for name, size in answer.workers.items()}
        return answer


class Alarmist(DeadlinePolicy):
    """A bad law: whoever is not done yet is said to be at risk."""

    def decide(self, seen):
        answer = super().decide(seen)
        answer.said = {view.name: Said(alert="WindowAtRisk") for view in seen.jobs}
        return answer


@pytest.mark.parametrize("name", GENERATORS)
def test_the_law_meets_every_bound_on_two_seeds_of_each_generator(name):
    results = [result for seed in (0, 1) for result in suite.compared(GENERATORS[name](seed))]
    assert suite.faults(results) == []


@pytest.mark.all
@pytest.mark.timeout(1200)
def test_the_law_meets_every_bound_on_the_whole_suite():
    results = suite.run_suite(processes=2)
    assert len(results) == len(GENERATORS) * len(suite.POLICIES)
    assert {result.seeds for result in results} == {suite.SEEDS}
    assert suite.faults(results) == []


@pytest.mark.parametrize(
    ("bad", "told"),
    [(Lazy, "feasible windows missed"), (Wasteful, "x the least GPU-hours"), (Alarmist, "alerts about jobs")],
)
def test_a_deliberately_bad_law_fails_the_suite(bad, told):
    results = suite.run_suite(seeds=1, policies={suite.LAW: bad})
    assert any(told in fault for fault in suite.faults(results))


def test_baselines_are_held_to_no_bound():
    assert suite.faults(suite.run_suite(seeds=1, policies={"fixed": Lazy})) == []


def test_results_of_several_seeds_add_up_and_the_worst_stays_the_worst():
    one = suite.result_of(play(trace(job()), Always(1)), "x")
    two = suite.result_of(play(trace(job()), Always(4)), "x")
    both = suite.together([one, two])
    assert (both.jobs, both.met, both.seeds) == (2, 2, 2)
    assert both.gpu_hours == pytest.approx(one.gpu_hours + two.gpu_hours)
    assert both.worst_ratio == two.worst_ratio > both.ratio


@pytest.mark.all
def test_ten_thousand_jobs_take_less_than_a_minute(record_testsuite_property):
    crowd = crowd_of_jobs(0)
    begin = time.process_time()  # of the CPU, so that a busy machine does not count
    record = play(crowd, DeadlinePolicy())
    seconds = time.process_time() - begin
    record_testsuite_property("seconds_for_ten_thousand_jobs", round(seconds, 1))
    assert (record.ended, record.met) == (10_000, 10_000)
    assert seconds < 60
