"""When a revision that does not serve yet may: to how many replicas it is brought, with how many the Service moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_operator.core.endpoint.sizing import HEAD_INGRESS

if TYPE_CHECKING:
    from tidemill_operator.core.endpoint.case import RevisionCase


def warm_size(case: RevisionCase) -> int:
    """Replicas that a revision is brought up to before the Service leads to it.

    As many as the serving one is to have, so that the move changes nothing; at least 1, so that a model which cannot
    load is found out before anyone asks.
    """
    cluster = case.view.cluster
    if cluster is not None and cluster.fixed:
        return cluster.replicas
    bounds = case.spec.replicas
    serving = case.seen.revision(case.seen.serving).cluster if case.seen.serving else None
    return min(max(serving.replicas if serving is not None else 0, bounds.min, 1), bounds.max)


def enough(case: RevisionCase) -> int:
    """Replicas that have to answer before the Service moves: as many as answer now, which may be fewer than wanted.

    An endpoint that is short of capacity could never be upgraded otherwise. Where nothing answers, one is better than
    none; where Ray does not say what answers, nothing less than the whole size will do.
    """
    serving = case.seen.revision(case.seen.serving) if case.seen.serving else None
    if serving is None or serving.cluster is None:
        return 1
    if serving.serve is None:
        return warm_size(case)
    return min(warm_size(case), max(len(serving.serve.engine.running), 1))


def can_serve(case: RevisionCase) -> bool:
    """Whether as many replicas answer as are enough, and requests get to them.

    Clients ask the ingress, on the head and on each worker, and the Service leads to pods that are Ready only.
    """
    serve, size = case.view.serve, enough(case)
    if serve is None or len(serve.engine.running) < size:
        return False
    taking = sum(worker.ready and not worker.deleting for worker in case.view.workers)
    return len(serve.ingress.running) >= HEAD_INGRESS + size and taking >= size
