"""The operator's own law as a policy: what `core` decides from views, called as the rules of a job call it.

`core/job_load.py`, `job_schedule.py`, `sizing.py`, `outlook.py` and `window_risk.py` make the same calls from snapshots
and statuses; what the operator keeps in statuses between two looks is kept here. Refuses to add to the law: a figure
that `core` does not ask for is not computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.estimates import observed_rate, observed_startup, remaining_start
from tidemill_operator.core.deadline.forecast import window_lost
from tidemill_operator.core.deadline.hours import CheapHours, latest_safe
from tidemill_operator.core.deadline.law import Size, Why, size_of
from tidemill_operator.core.deadline.load import Load
from tidemill_operator.core.deadline.need import Fleet
from tidemill_operator.core.deadline.risk import Circumstances, risk
from tidemill_operator.core.deadline.shares import Claim, shares, starved_for
from tidemill_operator.core.deadline.turns import Turn, Work, forecast_in_turn, turns
from tidemill_operator.core.job_load import TAIL_SECONDS
from tidemill_operator.core.job_schedule import LEAD, UNMEASURED_DEVIATIONS
from tidemill_operator.core.queue_health import Level, Queue, health
from tidemill_operator.simulate.endpoint_policy import EndpointSizes
from tidemill_operator.simulate.measures import Measures
from tidemill_operator.simulate.policy import Answer, Said

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.estimates import Measure
    from tidemill_operator.simulate.policy import JobView, Seen

WAIT_AHEAD = LEAD.total_seconds()
NO_ROOM_SECONDS = 60.0
"""A pod that has been pending for longer finds no node: no further one is counted on."""


@dataclass(slots=True)
class _Kept:
    """What the status of one job holds."""

    rate: Measure | None = None
    startup: Measure | None = None
    planned: tuple[float, float] | None = None
    at_risk: bool = False


@dataclass(slots=True)
class _Case:
    """One job at one look: its load and what the law says of it before the share-out."""

    view: JobView
    load: Load
    size: Size
    works_now: bool = True


class DeadlinePolicy:
    """The deadline law with estimates, schedule, shares, forecast and health."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._measures = Measures()
        self._endpoints = EndpointSizes()

    def decide(self, seen: Seen) -> Answer:
        """Every job's size by its own deadlines, then what the budget gives of it: endpoints first."""
        replicas = self._endpoints.decide(seen)
        for view in seen.jobs:
            self._observe(view)
        cases = [self._case(view, seen) for view in seen.jobs if view.prepared]
        claims = [self._claim(case, seen.now) for case in cases]
        claims += [
            Claim(f"endpoint/{e.spec.name}", want=replicas[e.spec.name], have=e.wanted, endpoint=True)
            for e in seen.endpoints
        ]
        given = shares(claims, seen.gpu_limit)
        for_jobs = seen.gpu_limit - sum(replicas.values())
        coming = turns((_work(case, seen.now) for case in cases), max(for_jobs, 0))
        sizes = {case.view.name: min(case.size.workers, given[f"job/{case.view.name}"]) for case in cases}
        said = {view.name: self._age(view, seen.now) for view in seen.jobs}
        for case in cases:
            name = case.view.name
            self._foretell(case, sizes[name], coming[name], seen, said[name])
        return Answer(
            workers=sizes,
            replicas={e.spec.name: given[f"endpoint/{e.spec.name}"] for e in seen.endpoints},
            said=said,
        )

    def ended(self, job: str) -> None:
        """Its status stays for a day, and with it what it measured."""
        if (kept := self._kept.pop(job, None)) is not None:
            self._measures.ended(job, kept.rate, kept.startup)

    def _observe(self, view: JobView) -> None:
        """Folds the samples since the last look into the job's measures."""
        kept = self._kept.setdefault(view.name, _Kept())
        for seconds in view.sample_starts:
            kept.startup = observed_startup(kept.startup, seconds)
        if view.sample_seconds > 0:
            kept.rate = observed_rate(kept.rate, view.sample_rows, view.sample_seconds)
        self._measures.tell(view, kept.rate, kept.startup)

    def _case(self, view: JobView, seen: Seen) -> _Case:
        kept = self._kept[view.name]
        rate, startup = self._measures.estimates(view, kept.rate, kept.startup, seen.now)
        starting = [remaining_start(seen.now - held, startup) for held in view.starting]
        fleet = Fleet(view.running, (*starting, *(startup.value for _ in view.pending)))
        busy = min(view.running, view.rows_left)
        load = Load(
            rows=view.rows_left,
            rows_waiting=max(view.rows_left - busy * view.in_flight, 0),
            rows_per_worker=view.in_flight,
            busy=busy,
            target=view.target_time,
            window_end=view.deadline,
            least=view.min_workers,
            most=view.max_workers,
            fleet=fleet,
            rate=rate,
            startup=startup,
            tail_seconds=TAIL_SECONDS,
        )
        if not view.late_start:
            return _Case(view, load, size_of(load, seen.now))
        return self._late_case(view, load, kept, seen)

    def _late_case(self, view: JobView, load: Load, kept: _Kept, seen: Seen) -> _Case:
        """A job that may wait: sized for its planned finish once its hours have come. A plan whose time came stands."""
        hours = [CheapHours(price.start, price.end, price.factor) for price in seen.prices if price.end > seen.now]
        rate = load.rate
        safe = rate if rate.weight > 0 else replace(rate, value=rate.low(UNMEASURED_DEVIATIONS))
        schedule = latest_safe(replace(load, window_end=view.target_time, rate=safe), seen.now, hours)
        if kept.planned is None or seen.now < kept.planned[0] - WAIT_AHEAD:
            kept.planned = (schedule.start, min(schedule.finish, view.target_time))
        start, finish = kept.planned
        load = replace(load, target=finish, idle_seconds=schedule.idle_seconds(seen.now))
        goes_on = seen.now >= start and (not hours or bool(load.fleet.starting))
        if schedule.works_at(seen.now) or goes_on:
            return _Case(view, load, size_of(load, seen.now))
        return _Case(view, load, Size(0, 0, Why.KEPT), works_now=False)

    def _claim(self, case: _Case, now: float) -> Claim:
        view, planned = case.view, self._kept[case.view.name].planned
        age = now - (planned[0] if planned is not None else view.created)
        return Claim(
            f"job/{view.name}",
            want=case.size.workers,
            must=case.size.must,
            urgent=case.size.urgent,
            have=view.workers,
            cost=view.gpus,
            deadline=view.deadline,
            target=case.load.target,
            starved_seconds=starved_for(age, view.deadline - view.created),
            lost=_lost(case, now),
        )

    # What is said

    def _age(self, view: JobView, now: float) -> Said:
        """The health of a job's queue: age from creation, or from the planned start of one that may wait."""
        start, finish = self._kept[view.name].planned or (view.created, view.target_time)
        so = health(Queue(depth=view.rows_left, oldest_age=max(now - start, 0.0), target=max(finish - start, 1.0)))
        return Said(alert="" if so.level is Level.HEALTHY else str(so.level))

    def _foretell(self, case: _Case, size: int, turn: Turn, seen: Seen, said: Said) -> None:
        """Adds when the job will be done, and whether its window is at risk."""
        view, load, kept = case.view, case.load, self._kept[case.view.name]
        no_room = any(seen.now - ordered > NO_ROOM_SECONDS for ordered in view.pending)
        if no_room:
            turn = replace(turn, workers=min(turn.workers, view.running))
        so = forecast_in_turn(load, seen.now, size, turn)
        short = turn.waits > 0 or (so.workers_needed is not None and turn.workers < min(so.workers_needed, load.most))
        danger = risk(load, so, Circumstances(quota=short, no_room=no_room), seen.now, standing=kept.at_risk)
        kept.at_risk = danger is not None
        said.finish = so.finish
        if kept.planned is not None:
            said.planned_finish = kept.planned[1]
            said.finish = kept.planned[1] if seen.now < kept.planned[0] else so.finish
        if danger is not None and not said.alert:
            said.alert = f"WindowAtRisk ({danger.cause})"


def _work(case: _Case, now: float) -> Work:
    load = case.load
    seconds = load.rows / load.rate.value
    return Work(case.view.name, seconds, load.most, case.view.gpus, load.window_end, lost=_lost(case, now))


def _lost(case: _Case, now: float) -> bool:
    return window_lost(replace(case.load, idle_seconds=0.0), now)
