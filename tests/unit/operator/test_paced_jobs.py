"""Whole jobs under virtual time: workers that take a while to start and answer at one pace, sized by the real planner.

The model of the workers stands for KubeRay, Ray and engines; everything that is decided is the operator's own.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise

import pytest
from unit.operator.builders import RUNNING, T0, make_cluster, make_job, make_spec, running_status

from tidemill_operator.core.plan import ScaleCluster
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import DriverMetrics, Snapshot, WorkerPod

LOOK = timedelta(seconds=2)
HEAD_SECONDS = 20
ROUNDED_SECONDS = 15
"""A forecast is rounded up to ten seconds, and has five for the join, which these jobs do not have."""


@dataclass
class PacedJob:
    """A validated job whose workers take `startup` seconds to start and answer `rate` rows a second each."""

    rows: int
    rate: float
    startup: float = 30.0
    held: int = 32
    spec: dict = field(default_factory=dict)
    look: timedelta = LOOK

    def __post_init__(self):
        spec = make_spec(**{"workers": {"max": 8}} | self.spec)
        self.job = make_job(spec=spec, status=running_status(pool_size=8))
        self.cluster = make_cluster(max_replicas=8)
        self.now = T0 + timedelta(seconds=HEAD_SECONDS)
        self.pods: list[WorkerPod] = []
        self.done, self.answered_until = 0.0, self.now
        self.sizes: list[int] = []
        self.statuses = []

    def working(self):
        return [pod for pod in self.pods if (self.now - pod.created).total_seconds() >= self.startup]

    def step(self):
        busy = self.working()
        self.done = min(self.done + len(busy) * self.rate * self.look.total_seconds(), self.rows)
        self.now += self.look
        in_flight, left = {}, self.rows - int(self.done)
        for pod in self.working():
            in_flight[pod.ip] = min(self.held, left)
            left -= in_flight[pod.ip]
        over = int(self.done) >= self.rows
        metrics = DriverMetrics(
            phase="finalising" if over else "processing",
            rows_total=self.rows,
            rows_completed=int(self.done),
            rows_per_worker=self.held,
            in_flight={ip: rows for ip, rows in in_flight.items() if rows},
        )
        workers = tuple(self.pods)
        seen = Snapshot(
            now=self.now, job=self.job, cluster=self.cluster, workers=workers, attempt=RUNNING, metrics=metrics
        )
        decided = plan(seen)
        for action in decided.actions:
            if isinstance(action, ScaleCluster):
                self.scale(action)
        self.job = replace(self.job, status=decided.status)
        self.statuses.append((self.now, decided.status))
        return over

    def scale(self, action):
        self.pods = [pod for pod in self.pods if pod.name not in action.workers_to_delete]
        while len(self.pods) < action.replicas:
            number = len(self.sizes) * 10 + len(self.pods) + 1
            self.pods.append(WorkerPod(f"w{number}", f"10.0.1.{number}", True, False, created=self.now))
        self.cluster = replace(self.cluster, replicas=action.replicas, workers_to_delete=action.workers_to_delete)
        self.sizes.append(action.replicas)

    def run(self):
        """To the last row; the seconds since creation that it took."""
        while not self.step():
            assert self.now < T0 + timedelta(days=2), "it never ends"
        return (self.now - T0).total_seconds()


@pytest.mark.parametrize("rate", [0.5, 2.0, 13.3, 60.0])
def test_a_loose_window_takes_one_worker_whatever_its_speed(rate):
    world = PacedJob(rows=2000, rate=rate, spec={"completionWindow": "14d"})
    world.run()
    assert set(world.sizes) <= {0, 1}


@pytest.mark.parametrize("rate", [0.5, 2.0, 5.0])
def test_a_tight_window_takes_more_workers_and_is_met(rate):
    rows = int(rate * 3600)
    world = PacedJob(rows=rows, rate=rate, spec={"completionWindow": "1h"})
    assert world.run() <= 3600
    assert max(world.sizes) > 1


@pytest.mark.parametrize("rate", [0.5, 2.0, 13.3, 60.0])
@pytest.mark.parametrize("window", ["20m", "4h", "2d"])
def test_the_forecast_is_true_within_a_fifth_from_a_quarter_of_the_rows_on(rate, window):
    world = PacedJob(rows=2000, rate=rate, spec={"completionWindow": window})
    truth = world.run()
    told = [
        ((status.forecast.finish_time - T0).total_seconds(), status.rows.completed)
        for _, status in world.statuses
        if status.forecast is not None and status.rows.completed >= 500
    ]
    assert told
    off = max(abs(finish - truth) - ROUNDED_SECONDS for finish, _ in told)
    assert off <= 0.2 * truth


def test_what_was_measured_is_what_the_workers_did():
    world = PacedJob(rows=4000, rate=4.0, startup=45.0, spec={"completionWindow": "8h"})
    world.run()
    measured = world.job.status.measured
    assert float(measured.rows_per_second_per_worker) == pytest.approx(4.0, rel=0.05)
    assert measured.startup_seconds == pytest.approx(45, abs=4)


def test_no_worker_comes_twice_for_rows_that_are_answered_evenly():
    world = PacedJob(rows=20_000, rate=3.0, spec={"completionWindow": "3h"})
    world.run()
    grown = [after for before, after in pairwise(world.sizes) if after > before]
    shrunk = [after for before, after in pairwise(world.sizes) if 0 < after < before]
    assert len(grown) <= 4
    assert len(shrunk) <= len(grown) + 1


def measured_before(rows, look=LOOK, **spec):
    """A job that has time, of a model that is known to answer 2 rows a second."""
    world = PacedJob(rows=rows, rate=2.0, spec={"schedule": "LatestSafe"} | spec, look=look)
    known = world.job.status.measured.model_copy(
        update={"rows_per_second_per_worker": "2", "rows": 2000, "startup_seconds": 30, "startups": 5}
    )
    world.job = replace(world.job, status=world.job.status.model_copy(update={"measured": known, "planned": None}))
    return world


def hours_at_work(world):
    """The hours since creation in which rows were answered."""
    done = [(now, status.rows.completed) for now, status in world.statuses]
    return [(now - T0) / timedelta(hours=1) for (_, before), (now, after) in pairwise(done) if after > before]


def test_a_job_that_has_time_begins_late_is_done_in_time_and_is_healthy_all_along():
    world = measured_before(8000, completionWindow="4h")
    assert world.run() <= 4 * 3600
    assert min(hours_at_work(world)) > 2.5
    assert {status.queue.health for _, status in world.statuses} == {"Healthy"}
    risks = {c.status for _, status in world.statuses for c in status.conditions if c.type == "WindowAtRisk"}
    assert risks == {"False"}
    assert world.sizes == [1, 0]


def test_the_work_stops_between_the_cheaper_hours_and_is_done_in_time():
    spans = (("14:00", "15:00"), ("18:00", "19:00"))
    hours = [{"start": start, "end": end, "priceFactor": "0.20"} for start, end in spans]
    world = measured_before(40_000, look=5 * LOOK, completionWindow="12h", cheaperHours=hours)
    assert world.run() <= 12 * 3600
    worked = hours_at_work(world)
    assert not [hour for hour in worked if not (2 <= hour <= 3.01 or 6 <= hour <= 7.01)], "12:00 is hour 0"
    assert [hour for hour in worked if hour < 4]
    assert [hour for hour in worked if hour > 4]
