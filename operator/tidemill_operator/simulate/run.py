"""Plays a trace under a policy in virtual time, from one event to the next.

Events are exact (the end of a job or of a start-up, a loss, a change of load); decisions fall on looks, as an
operator's do.
What is left to chance is drawn from the trace's seed for each job apart, in the order of its own events.
"""

from __future__ import annotations

import heapq
import math
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

from tidemill_operator.simulate.pool import Pool, Worker
from tidemill_operator.simulate.prices import Prices
from tidemill_operator.simulate.record import JobRecord, Record
from tidemill_operator.simulate.tenants import DRAINED_SECONDS, FLAP_SECONDS, LOST_SECONDS, SimEndpoint, SimJob, Tenant
from tidemill_operator.simulate.viewing import seen_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_operator.simulate.policy import Policy
    from tidemill_operator.simulate.trace import Capacity, Job, Load, Loss, Trace

LOOK_SECONDS = 30.0
"""Between two looks while a job is active: rarer than the operator's own (2 s), so that no decision is too easy."""

ENDPOINT_LOOK_SECONDS = 5.0
"""The same while the trace has endpoints: their targets are a few seconds."""

END_SECONDS = 5.0
"""From a job's last row until its workers are gone."""


class _Order(IntEnum):
    """Of two events at one time, the earlier in this list comes first."""

    WORLD = 0
    JOB = 1
    WINDOW_END = 2
    ARRIVAL = 3
    LOOK = 4


def play(trace: Trace, policy: Policy, told: Callable[[int], None] | None = None) -> Record:
    """What became of the trace under this policy. `told` is called with the number of jobs that have ended so far."""
    return _Run(trace, policy, told).play()


class _Run:
    """The state of a run. Every method that takes no time ends at `_now`."""

    def __init__(self, trace: Trace, policy: Policy, told: Callable[[int], None] | None) -> None:
        self._trace = trace
        self._policy = policy
        self._told = told
        self._prices = Prices(trace)
        self._pool = Pool(trace.limits.gpu_limit, self._prices)
        self._jobs: dict[str, SimJob] = {}
        self._endpoints = {endpoint.name: SimEndpoint(endpoint, trace.seed) for endpoint in trace.endpoints}
        self._pace = ENDPOINT_LOOK_SECONDS if trace.endpoints else LOOK_SECONDS
        self._looking = False
        self._record = Record(trace)
        self._now = 0.0
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._count = 0

    def play(self) -> Record:
        """From the first event to the last."""
        trace = self._trace
        for job in trace.jobs:
            self._at(job.arrival, _Order.ARRIVAL, partial(self._arrives, job))
        for load in trace.loads:
            self._at(load.time, _Order.WORLD, partial(self._load_changes, load))
        for capacity in trace.capacities:
            self._at(capacity.time, _Order.WORLD, partial(self._capacity_changes, capacity))
        for loss in trace.losses:
            self._at(loss.time, _Order.WORLD, partial(self._many_are_lost, loss))
        self._wake()
        while self._events:
            self._now, _, _, happens = heapq.heappop(self._events)
            happens()
        for endpoint in self._endpoints.values():
            endpoint.advance(self._now)
            self._release(list(endpoint.workers), 0.0)
            self._record.endpoint_ended(endpoint)
        return self._record

    def _at(self, time: float, order: _Order, happens: Callable[[], None]) -> None:
        if time < math.inf:
            self._count += 1
            heapq.heappush(self._events, (time, order, self._count, happens))

    # What the trace brings

    def _arrives(self, job: Job) -> None:
        sim = SimJob(job, self._trace.seed)
        self._jobs[job.name] = sim
        self._record.jobs[job.name] = JobRecord(job)
        self._at(self._now + job.prepare, _Order.JOB, partial(self._is_prepared, sim))
        self._at(job.deadline, _Order.WINDOW_END, partial(self._window_ends, sim))
        self._wake()

    def _is_prepared(self, sim: SimJob) -> None:
        sim.prepared = True

    def _load_changes(self, load: Load) -> None:
        endpoint = self._endpoints[load.endpoint]
        endpoint.advance(self._now)
        endpoint.requests_per_second = load.requests_per_second

    def _capacity_changes(self, capacity: Capacity) -> None:
        self._pool.gpus = min(capacity.gpus, self._trace.limits.gpu_limit)
        self._place()

    def _many_are_lost(self, loss: Loss) -> None:
        tenants = (*self._jobs.values(), *self._endpoints.values())
        there = [worker for tenant in tenants for worker in tenant.workers if worker.held is not None]
        for worker in there[:: max(round(1 / loss.share), 1)]:
            self._is_lost(worker)

    def _window_ends(self, sim: SimJob) -> None:
        if sim.ended is None:
            sim.advance(self._now)
            self._ends(sim)

    # What becomes of workers and rows

    def _is_ready(self, worker: Worker) -> None:
        if worker.gone:
            return
        if isinstance(worker.owner, SimJob):
            worker.owner.begins(worker, self._now)
            self._rows_move(worker.owner)
        elif isinstance(worker.owner, SimEndpoint):
            worker.owner.begins(worker, self._now)

    def _is_lost(self, worker: Worker) -> None:
        if not worker.gone:
            worker.owner.bill.losses += 1
            self._release([worker], LOST_SECONDS)
            self._place()

    def _rows_move(self, sim: SimJob) -> None:
        """The job's rate has changed: when it changes next by itself is asked for anew."""
        sim.version += 1
        self._at(sim.progress.next_change(), _Order.JOB, partial(self._rate_changes, sim, sim.version))

    def _rate_changes(self, sim: SimJob, version: int) -> None:
        if version != sim.version or sim.ended is not None:
            return
        sim.advance(self._now)
        if sim.progress.finished:
            self._ends(sim)
        else:
            self._rows_move(sim)

    def _ends(self, sim: SimJob) -> None:
        sim.ended = self._now
        self._record.job_ended(sim)
        self._policy.ended(sim.name)
        self._at(self._now + END_SECONDS, _Order.JOB, partial(self._is_gone, sim))

    def _is_gone(self, sim: SimJob) -> None:
        self._release(list(sim.workers), 0.0)
        self._record.jobs[sim.name].bill = sim.bill
        del self._jobs[sim.name]
        self._place()
        if self._told is not None:
            self._told(self._record.ended)

    def _release(self, workers: list[Worker], lost_seconds: float) -> None:
        for worker in workers:
            self._pool.release(worker, self._now)
            worker.owner.leaves(worker, self._now, lost_seconds)
            if isinstance(worker.owner, SimJob) and worker.ready is not None and worker.owner.ended is None:
                self._rows_move(worker.owner)

    def _place(self) -> None:
        for worker in self._pool.place(self._now):
            self._at(self._now + worker.owner.start_up(), _Order.WORLD, partial(self._is_ready, worker))
            lost = worker.owner.until_lost()
            self._at(self._now + lost, _Order.WORLD, partial(self._is_lost, worker))

    # What is decided

    def _wake(self) -> None:
        if not self._looking and (self._jobs or self._endpoints):
            self._looking = True
            self._at(self._now, _Order.LOOK, self._look)

    def _look(self) -> None:
        active = [sim for sim in self._jobs.values() if sim.ended is None]
        for sim in active:
            sim.advance(self._now)
        for endpoint in self._endpoints.values():
            endpoint.advance(self._now)
        answer = self._policy.decide(seen_now(self._trace, self._now, active, self._endpoints.values()))
        for endpoint in self._endpoints.values():
            self._resize(endpoint, answer.replicas.get(endpoint.name, len(endpoint.workers)))
        for sim in active:
            self._resize(sim, answer.workers.get(sim.name, len(sim.workers)))
            if (said := answer.said.get(sim.name)) is not None:
                self._record.jobs[sim.name].hear(self._now, sim.progress.done, said)
        self._record.keep(self._now, self._jobs.values(), self._endpoints.values())
        self._place()
        self._looking = bool(self._jobs) or (bool(self._endpoints) and self._now < self._trace.horizon)
        if self._looking:
            self._at(self._now + self._pace, _Order.LOOK, self._look)

    def _resize(self, tenant: Tenant, wanted: int) -> None:
        more = wanted - len(tenant.workers)
        if more < 0:
            going = tenant.to_go(-more)
            if any(worker.held is not None for worker in going):
                tenant.told_to_go = self._now
            self._release(going, DRAINED_SECONDS)
            return
        if more and self._now - tenant.told_to_go < FLAP_SECONDS:
            tenant.bill.flaps += more
        for _ in range(more):
            worker = Worker(tenant, tenant.gpus, self._now)
            tenant.workers.append(worker)
            self._pool.order(worker)
