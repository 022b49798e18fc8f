"""What the rules about one revision are asked, and what one of them says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from tidemill_operator.core.backoff import backoff

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.endpoint_conditions import EndpointReason
    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
    from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus, ScalingStatus, StartupStatus
    from tidemill_operator.core.endpoint.plan import EndpointAction
    from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot, RevisionView
    from tidemill_operator.core.plan import Event

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Step:
    """What is done about one revision now, and what that is called in `Progressing`.

    `warm` says that as many replicas answer as are wanted. `startup` and `scaling` replace their part of the status.
    """

    reason: EndpointReason
    message: str
    progressing: Truth = "True"
    actions: tuple[EndpointAction, ...] = ()
    startup: StartupStatus | None = None
    scaling: ScalingStatus | None = None
    replicas: int | None = None
    warm: bool = False
    events: tuple[Event, ...] = ()
    recheck_after: timedelta | None = None

    def told(self, event: Event) -> Step:
        """The same step with one more event."""
        return replace(self, events=(*self.events, event))


@dataclass(frozen=True)
class RevisionCase:
    """One revision of an endpoint: `serves` where the Service leads to it, `wanted` where it is the spec's."""

    seen: EndpointSnapshot
    view: RevisionView
    startup: StartupStatus
    wanted_since: datetime

    @property
    def spec(self) -> RealtimeEndpointSpec:
        """The spec; the planner asks no rule where it cannot be read. Raises ValueError there."""
        if self.seen.endpoint.spec is None:
            raise ValueError(f"the spec of {self.seen.endpoint.namespace}/{self.seen.endpoint.name} cannot be read")
        return self.seen.endpoint.spec

    @property
    def status(self) -> RealtimeEndpointStatus:
        """The status as it stands in the API server."""
        return self.seen.endpoint.status

    @property
    def serves(self) -> bool:
        """Whether the Service leads to this revision."""
        return self.view.revision == self.seen.serving

    @property
    def wanted(self) -> bool:
        """Whether this is the revision of the spec."""
        return self.view.revision == self.seen.wanted

    @property
    def scaling(self) -> ScalingStatus:
        """What the status keeps for the scaling law, with the beginning of replicas that began since then."""
        kept = self.status.scaling
        serve = self.view.serve
        if not self.serves or serve is None or len(serve.engine.running) <= self.status.ready_replicas:
            return kept
        return kept.model_copy(update={"last_start_time": self.seen.now})

    @property
    def beside(self) -> bool:
        """Whether another revision serves: then this one can be given up without harm."""
        return bool(self.seen.serving) and not self.serves

    @property
    def running(self) -> int:
        """Engine replicas that answer; 0 also where Serve does not say."""
        return len(self.view.serve.engine.running) if self.view.serve is not None else 0

    def waiting(self) -> StartupStatus:
        """The startup after one more time that nothing could be tried: it waits longer each time."""
        waits = self.startup.waits + 1
        wait = backoff(waits, self.seen.tuning.backoff_min, self.seen.tuning.backoff_max)
        return self.startup.model_copy(update={"waits": waits, "retry_time": self.seen.now + wait})

    def failed(self) -> StartupStatus:
        """The startup after one more failed try: as `waiting`, and the next try has a new number."""
        told = self.view.serve.attempt if self.view.serve is not None else 0
        return self.waiting().model_copy(update={"attempt": max(self.startup.attempt, told) + 1})

    def until(self, moment: datetime | None) -> timedelta:
        """How long until then, but no longer than the safety net."""
        left = moment - self.seen.now if moment is not None else SAFETY_NET
        return min(max(left, timedelta(0)), SAFETY_NET)


@dataclass(frozen=True)
class Decided:
    """What a plan decided, for its status: the steps of the serving and of the wanted revision, which may be the same.

    `moving`: the Service is led to the wanted revision by this plan.
    """

    seen: EndpointSnapshot
    serving: Step | None
    wanted: Step | None
    startup: StartupStatus
    wanted_since: datetime
    moving: bool
    draining: bool  # whether old revisions stand

    @property
    def leads_to(self) -> str:
        """The revision that serves once the plan is carried out, empty for none."""
        return self.seen.wanted if self.moving else self.seen.serving

    @property
    def failing(self) -> bool:
        """Whether the last try of the revision that serves brought up no replica: without any, it is not asleep."""
        return self.leads_to == self.seen.wanted and self.startup.attempt > 1 and self.startup.waits > 0

    @property
    def leading(self) -> Step | None:
        """The step of the revision that serves then; of the wanted one while none serves."""
        return self.wanted if self.moving or not self.seen.serving else self.serving


def about_new(revision: str) -> str:
    """How a message in a condition begins that is about a revision which does not serve yet."""
    return f"New revision {revision}: "


SAFETY_NET = timedelta(seconds=30)
"""Another look where a change of an object is awaited, in case its watch event was missed."""
