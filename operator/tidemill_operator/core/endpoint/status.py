"""The status of an endpoint after a plan: references, figures, what the next decision must know. Composes only.

Figures of a queue change with every look, so where they alone moved they are written every few seconds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_api import labels
from tidemill_api.v1alpha1.realtime_endpoint_status import EndpointQueueStatus, RevisionStatus
from tidemill_operator.core.endpoint.conditions import available, conditions, progressing, ready
from tidemill_operator.core.endpoint.law import Law
from tidemill_operator.core.endpoint.rates import full_since, is_whole, rates_after, written
from tidemill_operator.core.endpoint.sizing import load_on
from tidemill_operator.core.queue_health import Queue, health

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus, ScalingStatus
    from tidemill_operator.core.endpoint.case import Decided
    from tidemill_operator.core.endpoint.rates import Rates
    from tidemill_operator.core.endpoint.snapshot import EndpointView, RevisionView

QUEUE_REFRESH = timedelta(seconds=5)
"""How old the figures of the queue may become before they are written although nothing else changed."""

MOST_REPLICAS = 1000
"""What the schema of the status takes."""


def compose(decided: Decided) -> RealtimeEndpointStatus:
    """The status after this decision; the old one where nothing worth a write is new."""
    seen, old = decided.seen, decided.seen.endpoint.status
    endpoint, leads_to = seen.endpoint, decided.leads_to
    view = seen.revision(leads_to or seen.wanted)
    size = _size(decided)
    doing = progressing(decided)
    is_available = available(decided, size)
    claims = (doing, is_available, ready(decided, is_available, doing))
    answering = len(view.serve.engine.running) if view.serve is not None else _unseen(view, old)
    scaling = decided.serving.scaling if decided.serving is not None else None
    new = old.model_copy(
        update={
            "conditions": conditions(old.conditions, claims, seen.now, endpoint.generation),
            "observed_generation": endpoint.generation,
            "url": url(endpoint) if leads_to else "",
            "replicas": min(size, MOST_REPLICAS),
            "ready_replicas": min(answering, MOST_REPLICAS),
            "selector": selector(endpoint, leads_to),
            "queue": _queue(decided, old.queue),
            "revision": _revision(decided, old.revision),
            "scaling": scaling or old.scaling,
            "startup": decided.startup,
        }
    )
    return settled(new, old)


def _unseen(view: RevisionView, old: RealtimeEndpointStatus) -> int:
    """Replicas that answer while Ray does not say so: as many as it said last, while there is a cluster."""
    return old.ready_replicas if view.cluster is not None else 0


def _size(decided: Decided) -> int:
    """Replicas wanted of the revision that serves, as decided; as its worker group stands where nothing was decided."""
    step = decided.leading
    if step is not None and step.replicas is not None:
        return step.replicas
    cluster = decided.seen.revision(decided.leads_to or decided.seen.wanted).cluster
    return cluster.replicas if cluster is not None else 0


def _revision(decided: Decided, old: RevisionStatus) -> RevisionStatus:
    leads_to = decided.leads_to
    since = old.serving_time if old.serving == leads_to else None
    wanted = decided.seen.wanted or old.wanted
    return RevisionStatus(
        serving=leads_to,
        serving_time=(since or decided.seen.now) if leads_to else None,
        wanted=wanted,
        wanted_time=decided.wanted_since if wanted else None,
    )


def _queue(decided: Decided, old: EndpointQueueStatus) -> EndpointQueueStatus:
    spec = decided.seen.endpoint.spec
    if spec is None:
        return old
    view = decided.seen.revision(decided.leads_to)
    running = len(view.serve.engine.running) if view.serve is not None else 0
    started = decided.seen.endpoint.status.scaling.last_start_time
    rates = rates_after(old, load_on(view, decided.seen), decided.seen.now)
    return queue(rates, Law.of(spec), decided.seen.now, full_since(running, spec.replicas.max, started))


def queue(rates: Rates, law: Law, now: datetime, full: datetime | None = None) -> EndpointQueueStatus:
    """The figures of the queue; their health is unknown where they are not complete and do not speak for themselves.

    `full`: since when every replica that the spec allows answers.
    """
    load, counts = rates.load, rates.counts(now)
    depth = load.depth if load.complete else None
    largest = rates.largest(now, full, law.target_age_seconds)
    so = health(Queue(depth, load.oldest_seconds, law.target_age_seconds, rates.arrived, largest))
    return EndpointQueueStatus(
        depth=load.depth,
        oldest_age_seconds=int(load.oldest_seconds),
        age_ratio=f"{min(load.oldest_seconds / law.target_age_seconds, 999_999_999):.2f}",
        health=so.level.value,
        reason=so.reason.value,
        arrived_per_second=written(rates.arrived),
        completed_per_second=written(rates.completed),
        answered=counts.answered,
        unanswered=counts.unanswered,
        counted_time=counts.time,
        observed_time=now,
    )


def settled(new: RealtimeEndpointStatus, old: RealtimeEndpointStatus) -> RealtimeEndpointStatus:
    """The status to write: the old one where only what moves with every look is new, and was written just now.

    That are the figures of the queue, and a calm that begins: counted from some seconds later, it costs no write where
    it is over by then. Its end is written at once, or a later look would take it for one that lasted.
    """
    moving = {"queue": old.queue} | ({"scaling": old.scaling} if _calm_begins(new.scaling, old.scaling) else {})
    if new.model_copy(update=moving) != old or old.queue.observed_time is None:
        return new
    if new.queue.health != old.queue.health or new.queue.observed_time is None:
        return new
    times = {"observed_time": old.queue.observed_time, "counted_time": old.queue.counted_time}
    same = new.queue.model_copy(update=times) == old.queue and is_whole(new.queue) == is_whole(old.queue)
    same = same and new.scaling == old.scaling
    recent = new.queue.observed_time - old.queue.observed_time < QUEUE_REFRESH
    return old if same or recent else new


def _calm_begins(new: ScalingStatus, old: ScalingStatus) -> bool:
    """Whether nothing else is new than that the endpoint is idle, or could do with fewer replicas, from now on."""
    idle = {"idle_since": None} if old.idle_since is None else {}
    lower = {"lower_since": None, "lower_peak": old.lower_peak} if old.lower_since is None else {}
    return new.model_copy(update=idle | lower) == old


def url(endpoint: EndpointView) -> str:
    """The base URL for OpenAI clients in the cluster."""
    return f"http://{endpoint.name}.{endpoint.namespace}.svc/v1"


def selector(endpoint: EndpointView, revision: str) -> str:
    """The label selector of the worker pods, as the scale API gives it to an autoscaler."""
    pairs = {labels.ENDPOINT_NAME: endpoint.name, labels.REVISION: revision, labels.ROLE: "worker"}
    return ",".join(f"{key}={value}" for key, value in pairs.items() if value)
