"""The clairvoyant minimum: what nobody can do a trace for less than, and which windows somebody could have met.

**GPU-hours.** A job of work W (seconds of one fastest worker for all rows), created at a, prepared after p, shortest
start-up s, g GPUs a worker, at least m workers, is done by the time D only if

    n (D - a - p - s) >= W,   n = the number of starts,

since a worker that has started does at most D - a - p - s seconds of work before D, however many run at a time and
whenever they come and go. So it takes

    n* = max(m, ceil(W / (D - a - p - s)))   starts, and   g (W + n* s) / 3600   GPU-hours.

The sum over all jobs is a true lower bound: a budget, lost workers, slow nodes, start-ups longer than the shortest and
looks that come late only add to it, and every job has a cluster of its own, so no start serves two of them.
D is the deadline that the law works for: the job's target. Where a run ended the job later, D is that end, so that to
be late is no saving: the bound falls with it. For a job that a run did not finish the bound is what that run used.

**Cost.** The same work, put into the cheapest of the hours between a + p and D' with the most workers allowed; the
starts at the cheapest price. D' is the end of the window for a job that may wait, else D.

**Feasible windows.** A schedule in which job j works in the interval I with at most w_j workers, and all jobs together
with at most the GPUs there are, exists if and only if a flow from the jobs' work over (job, interval) pairs to the
intervals' GPU-time saturates all the work (Horn 1974). Work counts as it would on the slowest node, with its n* starts;
an interval ends wherever a job may begin to work, a window ends, or the number of GPUs changes. First the schedule of
the earliest deadline is tried: where it makes every window, all are feasible. Else jobs are taken up in the order of
their deadlines as long as the flow exists. What this leaves out: work that is lost with its worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import networkx

from tidemill_operator.simulate.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_operator.simulate.record import JobRecord, Record
    from tidemill_operator.simulate.trace import Job, Trace

SLACK = 1e-6


@dataclass(frozen=True)
class Bound:
    """The least that a run could have used, in GPU-hours, money and starts."""

    gpu_hours: float
    cost: float
    starts: int


def least(record: Record) -> Bound:
    """The bound of every job of a run, summed."""
    prices = Prices(record.trace)
    bounds = [least_of(job, prices) for job in record.jobs.values()]
    return Bound(
        gpu_hours=sum(bound.gpu_hours for bound in bounds),
        cost=sum(bound.cost for bound in bounds),
        starts=sum(bound.starts for bound in bounds),
    )


def least_of(record: JobRecord, prices: Prices) -> Bound:
    """The bound of one job; of one that was not finished, no more than what it used."""
    job = record.job
    by = job.deadline if record.finished is None else max(job.target_time, record.finished)
    starts = least_starts(job, by)
    if starts is None:
        by = job.deadline
        starts = least_starts(job, by)
    if starts is None or record.finished is None:
        return Bound(record.bill.gpu_seconds / 3600, record.bill.cost, record.bill.starts)
    until = max(by, job.deadline) if job.schedule == "LatestSafe" else by
    return Bound(job.gpus * (job.work + starts * job.start_up) / 3600, _least_cost(job, starts, until, prices), starts)


def least_starts(job: Job, by: float) -> int | None:
    """n* for a job that is to be done by this time; None where the workers allowed cannot do it."""
    usable = by - job.arrival - job.prepare - job.start_up
    if usable <= 0:
        return None
    starts = max(job.min_workers, math.ceil(job.work / usable - SLACK), 1)
    return starts if starts <= job.max_workers else None


def _least_cost(job: Job, starts: int, until: float, prices: Prices) -> float:
    begin = job.arrival + job.prepare
    left, paid = job.work, 0.0
    steps = sorted(prices.steps(begin, until), key=lambda step: step[1])
    for seconds, factor in steps:
        worked = min(seconds * job.max_workers, left)
        left -= worked
        paid += worked * factor
    paid += starts * job.start_up * steps[0][1]
    return job.gpus * paid / 3600 * prices.per_gpu_hour


# Feasible windows


@dataclass(frozen=True)
class _Task:
    """A job for the flow: its GPU-seconds, between when it may run, and the most GPUs it may hold."""

    name: str
    work: float
    begin: float
    end: float
    most: int


def feasible(trace: Trace) -> frozenset[str]:
    """The names of the jobs whose windows a clairvoyant scheduler can meet, all of them together."""
    tasks = sorted(filter(None, map(_task, trace.jobs)), key=lambda task: (task.end, task.name))
    if _earliest_deadline_first(trace, tasks):
        return frozenset(task.name for task in tasks)
    low, high = _most_together(trace, tasks)
    accepted = list(tasks[:low])
    for task in tasks[low:high]:
        if _flows(trace, [*accepted, task]):
            accepted.append(task)
    return frozenset(task.name for task in accepted)


def _most_together(trace: Trace, tasks: Sequence[_Task]) -> tuple[int, int]:
    """How many of the first tasks certainly go together (by halving), and how many there are."""
    low, high = 0, len(tasks)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _flows(trace, tasks[:middle]) else (low, middle - 1)
    return low, len(tasks)


def _task(job: Job) -> _Task | None:
    """None where the job cannot make its window even alone."""
    slowest = job.work / (1 - job.worker_spread)
    usable = job.window - job.prepare - job.start_up
    starts = max(job.min_workers, math.ceil(slowest / usable - SLACK)) if usable > 0 else math.inf
    if starts > job.max_workers:
        return None
    work = job.gpus * (slowest + starts * job.start_up)
    return _Task(job.name, work, job.arrival + job.prepare, job.deadline, job.gpus * job.max_workers)


def _gpus(trace: Trace, time: float) -> int:
    named = [capacity.gpus for capacity in trace.capacities if capacity.time <= time]
    return min(named[-1], trace.limits.gpu_limit) if named else trace.limits.gpu_limit


def _edges(trace: Trace, tasks: Sequence[_Task]) -> list[float]:
    times = {time for task in tasks for time in (task.begin, task.end)}
    return sorted(times | {capacity.time for capacity in trace.capacities})


def _earliest_deadline_first(trace: Trace, tasks: Sequence[_Task]) -> bool:
    """Whether the plain schedule, who has to be done first works first, makes every window."""
    left = {task.name: task.work for task in tasks}
    waiting = sorted(tasks, key=lambda task: task.begin, reverse=True)
    open_tasks: list[_Task] = []
    for begin, end in pairwise(_edges(trace, tasks)):
        while waiting and waiting[-1].begin <= begin:
            open_tasks.append(waiting.pop())
        open_tasks.sort(key=lambda task: task.end)
        room = _gpus(trace, begin) * (end - begin)
        for task in open_tasks:
            worked = min(left[task.name], task.most * (end - begin), room)
            left[task.name] -= worked
            room -= worked
        if any(task.end <= end and left[task.name] > SLACK for task in open_tasks):
            return False
        open_tasks = [task for task in open_tasks if left[task.name] > SLACK]
    return True


def _flows(trace: Trace, tasks: Sequence[_Task]) -> bool:
    """Whether all these tasks can be done in time together: Horn's flow, in whole GPU-seconds, work rounded down."""
    graph = networkx.DiGraph()
    total = 0
    spans = list(pairwise(_edges(trace, tasks)))
    for index, (begin, end) in enumerate(spans):
        graph.add_edge(index, "sink", capacity=math.ceil(_gpus(trace, begin) * (end - begin)))
    for task in tasks:
        total += int(task.work)
        graph.add_edge("source", task.name, capacity=int(task.work))
        for index, (begin, end) in enumerate(spans):
            if task.begin <= begin and end <= task.end:
                graph.add_edge(task.name, index, capacity=math.ceil(task.most * (end - begin)))
    return total == 0 or networkx.maximum_flow_value(graph, "source", "sink") >= total
