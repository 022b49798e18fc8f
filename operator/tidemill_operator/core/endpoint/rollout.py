"""Which revision serves: the Service moves to a warm one, and what is neither serving nor wanted drains and goes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_operator.core.endpoint.case import RevisionCase
from tidemill_operator.core.endpoint.plan import Deploy, EndpointAction, PointService
from tidemill_operator.core.endpoint.sizing import group_of, load_on, size_actions
from tidemill_operator.core.plan import DeleteCluster, Event

if TYPE_CHECKING:
    from tidemill_operator.core.endpoint.case import Step
    from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot, RevisionView

SETTLING = timedelta(seconds=15)
"""How long after the Service moved requests may still reach the old revision: every node has to learn of the move."""

DRAIN_MARGIN = timedelta(seconds=60)
"""Beyond the longest request: then what is left of an old revision cannot be heard any more, or never ends."""


def moves(seen: EndpointSnapshot, wanted: Step | None) -> bool:
    """Whether the Service is to lead to the wanted revision now."""
    may = not name_taken(seen) and not seen.service_refused
    return wanted is not None and wanted.warm and seen.wanted != seen.serving and may


def name_taken(seen: EndpointSnapshot) -> bool:
    """Whether somebody else's Service has the endpoint's name: no client could reach it."""
    return seen.service is not None and seen.service.foreign


def move(seen: EndpointSnapshot) -> tuple[PointService, Event]:
    """The action and what is told of it."""
    before = f" instead of {seen.serving}" if seen.serving else ""
    told = Event("Normal", "RevisionServes", f"Revision {seen.wanted} serves{before}.")
    return PointService(seen.wanted), told


def retired(seen: EndpointSnapshot) -> tuple[RevisionView, ...]:
    """Revisions that stand and are neither serving nor wanted. None while the spec wants nothing that can be told."""
    if not seen.wanted:
        return ()
    kept = {seen.serving, seen.wanted}
    return tuple(v for v in seen.revisions if v.revision not in kept and v.cluster is not None)


def retire(seen: EndpointSnapshot, view: RevisionView) -> tuple[EndpointAction, ...]:
    """The deletion of an old revision, once nothing runs on it or nothing can any more; until then its clients leave.

    The Service leads new connections only: over those that stand clients would ask the old revision for ever.
    """
    cluster = view.cluster
    if cluster is None or cluster.deleting:
        return ()
    if _drained(seen, view):
        return (DeleteCluster(cluster.name, cluster.uid),)
    serve = view.serve
    if serve is None or not serve.built or serve.settings is None:
        return ()
    if serve.settings.leaving:
        return _woken(seen, view, cluster.replicas)
    counts = max(serve.engine.target, 1), max(serve.ingress.target, 1)
    leaving = serve.settings.model_copy(update={"leaving": True})
    return (Deploy(view.revision, cluster.head_ip, *counts, leaving, max(serve.attempt, 1)),)


def _woken(seen: EndpointSnapshot, view: RevisionView, replicas: int) -> tuple[EndpointAction, ...]:
    """One replica for requests that an old revision without any holds: they came while the Service moved."""
    if replicas or not load_on(view, seen).waiting:
        return ()
    case = RevisionCase(seen, view, seen.endpoint.status.startup, seen.now)
    return size_actions(case, group_of(case, 1))


def _drained(seen: EndpointSnapshot, view: RevisionView) -> bool:
    """Whether nothing is asked of it: no request on any of its replicas, seen at least `SETTLING` after the move."""
    known, spec = seen.endpoint.status.revision, seen.endpoint.spec
    if known.serving != seen.serving:
        return False  # the Service has moved and nobody has written down when: what is known is of an earlier move
    moved = known.serving_time
    if not seen.serving or moved is None or spec is None:
        return not seen.serving  # nothing ever led to it
    if seen.now < moved + SETTLING:
        return False
    load = load_on(view, seen)
    longest = timedelta(seconds=spec.limits.request_timeout_seconds) + DRAIN_MARGIN
    never_served = view.serve is not None and not view.serve.deployed
    return never_served or (load.complete and load.depth == 0) or seen.now >= moved + longest
