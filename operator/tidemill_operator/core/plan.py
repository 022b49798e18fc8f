"""The words of a plan: what a decision may ask the shell to do. Values only; `apply.py` carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import timedelta

    from tidemill_api.job_contract import Ending
    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus


@dataclass(frozen=True)
class CreateCluster:
    """Create the token Secret where it is missing, then the RayCluster with a head and so many workers."""

    workers: int = 0


@dataclass(frozen=True)
class DeleteCluster:
    """Delete this very RayCluster, and its token Secret."""

    name: str
    uid: str


@dataclass(frozen=True)
class SubmitDriver:
    """Submit this attempt on the head; a second time changes nothing.

    With an `ending` it runs no row: each row without a line gets its error line. `resubmit_of_uri` is the output folder
    whose answered rows are taken over.
    """

    head_ip: str
    attempt: int
    ending: Ending | None = None
    resubmit_of_uri: str = ""


@dataclass(frozen=True)
class StopDriver:
    """Ask Ray to stop this attempt: SIGTERM, then SIGKILL after `RAY_JOB_STOP_WAIT_TIME_S`."""

    head_ip: str
    attempt: int
    ending: Ending | None = None


@dataclass(frozen=True)
class ScaleCluster:
    """Set the worker group: how many, at most how many, and which pods have to go.

    `decided_at` is the size that this was decided at, where it must not be carried out at another: two who shrink a
    group at once would name different pods. `generation` is that of the RayCluster which the decision saw.
    """

    name: str
    replicas: int
    max_replicas: int
    workers_to_delete: tuple[str, ...] = ()
    decided_at: int | None = field(default=None, compare=False)
    generation: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class DeleteJob:
    """Delete the job object: its time to live after its end is over."""


Action = CreateCluster | DeleteCluster | SubmitDriver | StopDriver | ScaleCluster | DeleteJob


@dataclass(frozen=True)
class Event:
    """An Event about the job, as `kubectl describe` shows it."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What to do now: actions in order, then one status write (where it differs), then the events.

    `recheck_after` asks for another look when nothing else wakes the key; None where only a change can matter.
    """

    status: BatchInferenceJobStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    recheck_after: timedelta | None = None
