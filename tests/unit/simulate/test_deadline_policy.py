"""The operator's law in the simulated cluster: what a user would see of single jobs."""

import pytest
from unit.simulate.trace_builders import job, trace

from tidemill_operator.simulate.clairvoyant import least
from tidemill_operator.simulate.deadline_policy import DeadlinePolicy
from tidemill_operator.simulate.run import play
from tidemill_operator.simulate.trace import Endpoint, Load, Price

HOUR = 3600.0


class Watched(DeadlinePolicy):
    """The law, with what it saw and answered kept."""

    def __init__(self):
        super().__init__()
        self.looks = []

    def decide(self, seen):
        answer = super().decide(seen)
        self.looks.append((seen, answer))
        return answer


def test_a_loose_window_takes_one_worker_and_a_tight_one_several():
    record = play(trace(job("loose", window=24 * HOUR), job("tight", window=1.2 * HOUR)), DeadlinePolicy())
    assert record.jobs["loose"].bill.starts == 1
    assert record.jobs["tight"].bill.starts >= 3
    assert record.jobs["tight"].as_planned


def test_what_one_job_measured_sizes_the_next_one_of_its_model():
    slow = {"rows": 1800, "rows_per_second": 0.5, "window": 6 * HOUR}
    record = play(trace(job("first", **slow), job("next", arrival=8 * HOUR, **slow)), DeadlinePolicy())
    assert record.jobs["next"].as_planned
    assert record.jobs["next"].bill.starts == 1


def test_a_job_that_may_wait_works_in_the_cheaper_hours_and_never_alerts():
    night = Price(start=10 * HOUR, end=16 * HOUR, factor=0.5)
    record = play(trace(job(window=18 * HOUR, schedule="LatestSafe"), night), DeadlinePolicy())
    one = record.jobs["one"]
    assert one.met
    assert one.alerts == {}
    assert one.bill.cost == pytest.approx(least(record).cost, rel=0.1)


def test_a_crowd_at_an_endpoint_is_served_before_jobs_and_their_windows_hold():
    chat = (
        Endpoint(name="chat", min_replicas=1, max_replicas=6),
        Load(endpoint="chat", time=0, requests_per_second=1),
        Load(endpoint="chat", time=2 * HOUR, requests_per_second=16),
        Load(endpoint="chat", time=3 * HOUR, requests_per_second=1),
    )
    jobs = [job(f"j{i}", rows=2 * 3600, window=9 * HOUR) for i in range(6)]
    policy = Watched()
    record = play(trace(*jobs, *chat, gpus=8), policy)
    assert record.met == 6
    assert max(answer.replicas["chat"] for _, answer in policy.looks) == 6
    # Late are those that came while the first replicas of the crowd started up.
    assert record.late_requests / record.requests < 0.05


def test_what_is_wanted_never_goes_beyond_the_budget():
    policy = Watched()
    jobs = [job(f"j{i}", window=(i + 1) * HOUR, gpus=1 + i % 2, arrival=200.0 * i) for i in range(8)]
    play(trace(*jobs, gpus=7), policy)
    gpus = {one.name: one.gpus for one in jobs}
    assert all(sum(n * gpus[name] for name, n in answer.workers.items()) <= 7 for _, answer in policy.looks)


def test_a_job_that_cannot_make_it_is_at_risk_at_its_first_looks():
    record = play(trace(job("first"), job(rows=20 * 3600, arrival=7 * HOUR, window=HOUR)), DeadlinePolicy())
    one = record.jobs["one"]
    assert not one.met
    assert one.alerts["WindowAtRisk (TooFewWorkers)"] - one.job.arrival <= 60


def test_a_forecast_is_within_a_fifth_from_a_quarter_of_the_run_on():
    record = play(trace(job(rows=2000, rows_per_second=2.0, row_spread=0.2, worker_spread=0.1)), DeadlinePolicy())
    errors = record.jobs["one"].forecast_errors()
    assert errors
    assert max(errors) < 0.2
