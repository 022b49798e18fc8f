"""The policy of a RealtimeEndpoint. `plan` is the whole decision: a snapshot goes in, actions and the status come out.

Each revision that matters is looked at by an ordered list of rules, first match wins: the one that serves, and the one
that is wanted where that is another. Then the Service moves where the wanted one is warm, and old revisions go. It
remembers nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.v1alpha1.realtime_endpoint_status import StartupStatus
from tidemill_operator.core.endpoint import rollout, rules_cluster, rules_serve, rules_size, rules_tries
from tidemill_operator.core.endpoint.case import SAFETY_NET, Decided, RevisionCase, Step
from tidemill_operator.core.endpoint.conditions import events_of
from tidemill_operator.core.endpoint.plan import EndpointAction, EndpointPlan, PointService
from tidemill_operator.core.endpoint.status import compose
from tidemill_operator.core.plan import DeleteCluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot
    from tidemill_operator.core.plan import Event

    Rule = Callable[[RevisionCase], Step | None]

RULES: tuple[Rule, ...] = (
    rules_tries.rejected,
    rules_tries.awaiting_retry,  # what cannot start costs nothing while it waits
    rules_cluster.secret_missing,
    rules_cluster.cluster_leaving,
    rules_cluster.cluster_missing,
    rules_cluster.awaiting_admission,  # nothing of it runs
    rules_tries.failing,
    rules_tries.late,  # whatever it is that keeps a new revision from being ready
    rules_cluster.head_starting,
    rules_cluster.ray_silent,  # what is unknown is held
    rules_serve.not_deployed,
    rules_serve.building,
    rules_tries.try_again,
    rules_size.warming,
    rules_size.serving,
)


def plan(seen: EndpointSnapshot) -> EndpointPlan:
    """What to do about this endpoint at this moment."""
    endpoint = seen.endpoint
    if endpoint.deleting:
        return EndpointPlan(status=endpoint.status, actions=_let_go(seen))
    startup, since = _startup(seen)
    serving = _step(seen, seen.serving, startup, since)
    wanted = serving if seen.wanted == seen.serving else _step(seen, seen.wanted, startup, since)
    moving = rollout.moves(seen, wanted)
    old = rollout.retired(seen)
    actions: list[EndpointAction] = []
    told: list[Event] = []
    for step in (serving, wanted) if wanted is not serving else (serving,):
        actions += step.actions if step is not None else ()
        told += step.events if step is not None else ()
    if moving:
        action, event = rollout.move(seen)
        actions.append(action)
        told.append(event)
    elif seen.serving and seen.service is None and not seen.service_refused:
        actions.append(PointService(seen.serving))
    for view in old:
        actions += rollout.retire(seen, view)
    after = wanted.startup if wanted is not None and wanted.startup is not None else startup
    new = compose(Decided(seen, serving, wanted, after, since, moving=moving, draining=bool(old)))
    told += events_of(endpoint.status.conditions, new.conditions)
    return EndpointPlan(new, tuple(actions), tuple(told), _next_look(seen, (serving, wanted), draining=bool(old)))


def _let_go(seen: EndpointSnapshot) -> tuple[EndpointAction, ...]:
    """Owner references take the children of an endpoint along, but not while somebody's finalizer keeps it."""
    standing = (view.cluster for view in seen.revisions if seen.endpoint.held)
    return tuple(DeleteCluster(cluster.name, cluster.uid) for cluster in standing if cluster and not cluster.deleting)


def _startup(seen: EndpointSnapshot) -> tuple[StartupStatus, datetime]:
    """The tries of the wanted revision and since when it is wanted: both begin anew where another one is wanted."""
    old = seen.endpoint.status
    if seen.wanted and seen.wanted != old.revision.wanted:
        return StartupStatus(), seen.now
    return old.startup, old.revision.wanted_time or seen.now


def _step(seen: EndpointSnapshot, revision: str, startup: StartupStatus, since: datetime) -> Step | None:
    """What is done about this revision; None for none, and where nothing can be decided or made."""
    if not revision or seen.endpoint.spec is None:
        return None
    case = RevisionCase(seen, seen.revision(revision), startup, since)
    if case.view.cluster is None and (not case.wanted or rollout.name_taken(seen)):
        return None  # it is gone and the spec wants another; or nobody could reach it
    return next((step for rule in RULES if (step := rule(case)) is not None), None)


def _next_look(seen: EndpointSnapshot, steps: tuple[Step | None, ...], *, draining: bool) -> timedelta | None:
    asked = [step.recheck_after for step in steps if step is not None and step.recheck_after is not None]
    asked += [seen.tuning.poll] if draining else []
    asked += [SAFETY_NET] if seen.revisions or seen.wanted else []
    return min(asked, default=None)
