"""Rules about the replicas of one revision once Serve runs it: how many there are to be, and what is said of them."""

from __future__ import annotations

from tidemill_api import labels
from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_operator.core.endpoint.case import RevisionCase, Step
from tidemill_operator.core.endpoint.law import Sized, Why
from tidemill_operator.core.endpoint.missing import AWAITED, given_up, leaving, missing, why_missing
from tidemill_operator.core.endpoint.rules_serve import tell
from tidemill_operator.core.endpoint.rules_tries import tries_after
from tidemill_operator.core.endpoint.sizing import (
    close_the_doors,
    group_of,
    may_sleep,
    scaled_event,
    scaling_after,
    size_actions,
    sized_by_law,
)
from tidemill_operator.core.endpoint.warm import can_serve, warm_size
from tidemill_operator.core.queueing import fixed_note
from tidemill_operator.core.scaling import Scale


def warming(case: RevisionCase) -> Step | None:
    """A revision that does not serve yet gets its replicas; warm once enough of them can serve.

    The first revision of an endpoint serves with its first replica: where nothing answers, some are better than none.
    """
    if case.serves:
        return None
    size = warm_size(case)
    warm = can_serve(case)
    if case.running < size or _gave_up(case):
        reason, message = why_missing(case), missing(case, size)
    elif warm:
        reason, message = EndpointReason.SETTLED, "All replicas answer."
    else:
        reason, message = EndpointReason.REPLICAS_STARTING, "All replicas answer, but not yet the ingress of each pod."
    step = Step(
        reason,
        message,
        "False" if reason in AWAITED else "True",
        actions=size_actions(case, group_of(case, size)),
        startup=tries_after(case, all_answer=False) if case.wanted and not case.beside else None,
        replicas=size,
        warm=warm,
        recheck_after=case.seen.tuning.poll,
    )
    return tell(case, step)


def serving(case: RevisionCase) -> Step | None:
    """The revision that serves has as many replicas as the scaling law says."""
    sized = sized_by_law(case)
    if sized.why is Why.IDLE and not may_sleep(case):
        return _falling_asleep(case, sized)
    scale = group_of(case, sized.replicas)
    reason, message = _of_serving(case, scale.replicas)
    message += _fixed(case)
    step = Step(
        reason,
        message,
        "False" if reason is EndpointReason.SETTLED or reason in AWAITED else "True",
        actions=size_actions(case, scale),
        startup=tries_after(case, all_answer=case.running >= scale.replicas) if case.wanted else None,
        scaling=scaling_after(case, sized, scale),
        replicas=scale.replicas,
        warm=case.running >= scale.replicas,
        recheck_after=case.seen.tuning.poll,
    )
    event = scaled_event(case, sized, scale)
    return tell(case, step.told(event) if event is not None else step)


def _falling_asleep(case: RevisionCase, sized: Sized) -> Step:
    """The workers have nothing to do and may go once nobody can reach them; a request that comes keeps them."""
    stays = Scale(case.view.cluster.replicas if case.view.cluster is not None else 0)
    return Step(
        EndpointReason.SCALING_DOWN,
        "Nobody asks: the workers take no more requests, then they go.",
        actions=close_the_doors(case),
        scaling=scaling_after(case, sized, stays),
        replicas=stays.replicas,
        warm=case.running >= stays.replicas,
        recheck_after=case.seen.tuning.poll,
    )


def _of_serving(case: RevisionCase, size: int) -> tuple[EndpointReason, str]:
    """The reason and what is said of it."""
    running, serve = case.running, case.view.serve
    going = leaving(case)
    if running < size:
        return why_missing(case), missing(case, size)
    if serve is not None and serve.given_up:
        return given_up(serve)
    if going or running > size:
        return EndpointReason.SCALING_DOWN, f"{max(going, running - size)} replicas are leaving."
    return EndpointReason.SETTLED, f"{running} replicas answer, as many as are needed."


def _fixed(case: RevisionCase) -> str:
    """What a cluster of a fixed size does not follow."""
    cluster, most, room = case.view.cluster, case.spec.replicas.max, case.seen.room
    if cluster is None or not cluster.fixed:
        return ""
    ignored = [f"replicas.max is {most}"] if most != cluster.replicas else []
    ignored += ["the limit of GPUs leaves fewer"] if room is not None and room < cluster.replicas else []
    return fixed_note(cluster, ignored, f"change the annotation {labels.RESTARTED_AT}")


def _gave_up(case: RevisionCase) -> bool:
    return case.view.serve is not None and case.view.serve.given_up
