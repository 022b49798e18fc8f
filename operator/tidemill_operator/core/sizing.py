"""How many workers a job at work is to have: what its deadlines need, in its hours, within its share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.law import Why, size_of
from tidemill_operator.core.job_load import load_of
from tidemill_operator.core.job_schedule import timetable
from tidemill_operator.core.queueing import fixed_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus
    from tidemill_operator.core.snapshot import Snapshot


@dataclass(frozen=True)
class Sizing:
    """`workers` wanted; only above `most` do those go that hold rows; `why` in words, for events.

    `note` is what to say of a size that is fixed while something else would be wanted.
    """

    workers: int
    most: int
    why: str = ""
    note: str = ""


NONE = Sizing(0, 0)
"""No worker, and none is spared."""

WORDS = {
    Why.TARGET: "what the target needs",
    Why.WINDOW: "what the end of the window needs",
    Why.ALL: "all that it may have",
    Why.KEPT: "those that work stay",
    Why.LEAST: "workers.min",
    Why.DONE: "no row is left",
    Why.HELD: "figures are missing",
}


ANEW = "set spec.suspend to true and, once the pods have gone, to false"


def sizing(seen: Snapshot, status: BatchInferenceJobStatus) -> Sizing | None:
    """The size for the rows of this status; None where nothing can be said of them.

    A budget that shrinks takes workers that hold rows too, and so does the end of the cheaper hours: they hand back
    what they have not answered.
    """
    plan = timetable(seen, status)
    if plan is None:
        return None
    planned = status.model_copy(update={"planned": plan.planned})
    load = load_of(seen, planned, plan.idle_seconds)
    if load is None:
        return None
    if seen.cluster is not None and seen.cluster.fixed:
        note = fixed_note(seen.cluster, _ignored(seen, works_now=plan.works_now), ANEW)
        return Sizing(load.most, load.most, "the fixed size of a cluster in a Kueue queue", note)
    if not plan.works_now:
        return Sizing(0, 0, "the planned hours of work are over for now, or have not begun")
    size = size_of(load, seen.now.timestamp())
    if seen.share is not None and seen.share < size.workers:
        return Sizing(seen.share, seen.share, "its share of the GPU budget")
    return Sizing(size.workers, load.most, WORDS[size.why])


def _ignored(seen: Snapshot, *, works_now: bool) -> Iterator[str]:
    """What would give the job another size, were that not fixed."""
    spec, size = seen.job.spec, seen.cluster.replicas if seen.cluster is not None else 0
    if spec is None or not size:
        return
    if spec.workers.max != size:
        yield f"workers.max is {spec.workers.max}"
    if seen.share is not None and seen.share < size:
        yield "its share of the GPU budget is smaller"
    if not works_now:
        yield "the planned hours of work are over for now"
