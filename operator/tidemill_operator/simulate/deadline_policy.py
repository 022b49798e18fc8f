"""The operator's own law as a policy: what `core` decides from views, called as the rules of a job call it.

What the operator keeps in statuses between two looks is kept here: a job's measures, its planned start, its condition.
Refuses to add to the law: a figure that `core` does not ask for is not computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.estimates import observed_rate, observed_startup, remaining_start
from tidemill_operator.core.deadline.forecast import forecast
from tidemill_operator.core.deadline.hours import CheapHours, Schedule, latest_safe
from tidemill_operator.core.deadline.law import Size, size_of
from tidemill_operator.core.deadline.load import Load
from tidemill_operator.core.deadline.need import Fleet
from tidemill_operator.core.deadline.risk import Circumstances, risk
from tidemill_operator.core.deadline.shares import Claim, shares, starved_for
from tidemill_operator.core.queue_health import Level, Queue, health
from tidemill_operator.simulate.endpoint_policy import EndpointSizes
from tidemill_operator.simulate.measures import Measures
from tidemill_operator.simulate.policy import Answer, Said

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.estimates import Measure
    from tidemill_operator.simulate.policy import JobView, Seen

NO_ROOM_SECONDS = 60.0
"""A pod that has been pending for longer finds no node: no further one is counted on."""


@dataclass(slots=True)
class _Kept:
    """What the status of one job holds."""

    rate: Measure | None = None
    startup: Measure | None = None
    planned_start: float | None = None
    without_since: float | None = None
    at_risk: bool = False


@dataclass(slots=True)
class _Case:
    """One job at one look: its load and what the law says of it before the share-out."""

    view: JobView
    load: Load
    size: Size
    schedule: Schedule | None


class DeadlinePolicy:
    """The deadline law with estimates, schedule, shares, forecast and health."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._measures = Measures()
        self._endpoints = EndpointSizes()

    def decide(self, seen: Seen) -> Answer:
        """Every job's size by its own deadlines, then what the budget gives of it: endpoints first."""
        replicas = self._endpoints.decide(seen)
        cases = [self._case(view, seen) for view in seen.jobs if self._observe(view, seen.now) and view.prepared]
        claims = [self._claim(case, seen.now) for case in cases]
        claims += [
            Claim(f"endpoint/{e.spec.name}", want=replicas[e.spec.name], have=e.wanted, endpoint=True)
            for e in seen.endpoints
        ]
        given = shares(claims, seen.gpu_limit)
        sizes = {case.view.name: min(case.size.workers, given[f"job/{case.view.name}"]) for case in cases}
        said = {view.name: self._age(view, seen.now) for view in seen.jobs}
        for case in cases:
            self._foretell(case, sizes[case.view.name], seen, said[case.view.name])
        return Answer(
            workers=sizes,
            replicas={e.spec.name: given[f"endpoint/{e.spec.name}"] for e in seen.endpoints},
            said=said,
        )

    def ended(self, job: str) -> None:
        """Its status stays for a day, and with it what it measured."""
        if (kept := self._kept.pop(job, None)) is not None:
            self._measures.ended(job, kept.rate, kept.startup)

    def _observe(self, view: JobView, now: float) -> bool:
        """Folds the samples since the last look into the job's measures. Always True."""
        kept = self._kept.setdefault(view.name, _Kept())
        for seconds in view.sample_starts:
            kept.startup = observed_startup(kept.startup, seconds)
        if view.sample_seconds > 0:
            kept.rate = observed_rate(kept.rate, view.sample_rows, view.sample_seconds)
        self._measures.tell(view, kept.rate, kept.startup)
        if view.workers:
            kept.without_since = None
        elif kept.without_since is None:
            kept.without_since = now
        return True

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
        )
        if not view.late_start:
            return _Case(view, load, size_of(load, seen.now), None)
        return self._late_case(view, load, kept, seen)

    def _late_case(self, view: JobView, load: Load, kept: _Kept, seen: Seen) -> _Case:
        """A job that may wait: it is sized for its planned finish once its hours have come."""
        hours = [CheapHours(price.start, price.end, price.factor) for price in seen.prices]
        schedule = latest_safe(replace(load, window_end=view.target_time), seen.now, hours)
        load = replace(load, target=schedule.finish, idle_seconds=schedule.idle_seconds(seen.now))
        if not schedule.works_at(seen.now):
            kept.without_since = seen.now
            return _Case(view, load, Size(0, 0, size_of(load, seen.now).why), schedule)
        if kept.planned_start is None:
            kept.planned_start = schedule.start
        return _Case(view, load, size_of(load, seen.now), schedule)

    def _claim(self, case: _Case, now: float) -> Claim:
        view, planned = case.view, self._kept[case.view.name].planned_start
        age = now - (planned if planned is not None else view.created)
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
        )

    # What is said

    def _age(self, view: JobView, now: float) -> Said:
        """The health of a job's queue: age from creation, or from the planned start of one that may wait."""
        kept = self._kept[view.name]
        if view.late_start:
            start = kept.planned_start
            age = now - start if start is not None else 0.0
            target = max(view.target_time - (start if start is not None else view.created), 1.0)
        else:
            age, target = now - view.created, view.target_time - view.created
        seen = health(Queue(depth=view.rows_left, oldest_age=age, target=target))
        return Said(alert="" if seen.level is Level.HEALTHY else str(seen.level))

    def _foretell(self, case: _Case, size: int, seen: Seen, said: Said) -> None:
        """Adds when the job will be done, and whether its window is at risk."""
        view, kept = case.view, self._kept[case.view.name]
        no_room = any(seen.now - ordered > NO_ROOM_SECONDS for ordered in view.pending)
        allowed = min(view.max_workers, seen.gpu_limit // view.gpus)
        if no_room:
            allowed = max(view.running + len(view.starting), 1)
        waits = case.schedule is not None and not case.schedule.works_at(seen.now)
        planned = case.schedule.workers if waits and case.schedule is not None else size
        coming = forecast(case.load, seen.now, planned, allowed)
        held_up = Circumstances(quota=size < case.size.workers, no_room=no_room)
        danger = risk(case.load, coming, held_up, seen.now, standing=kept.at_risk)
        kept.at_risk = danger is not None
        said.finish = coming.finish
        said.planned_finish = case.schedule.finish if case.schedule is not None else None
        if danger is not None and not said.alert:
            said.alert = f"WindowAtRisk ({danger.cause})"
