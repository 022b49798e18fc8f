"""What a decision is made from: one frozen picture of a job, its RayCluster, its pods and its driver.

Filled by the shell (`views.py`, `ray_api.py`), read by the rules. Holds values only and refuses to fetch anything;
what could not be seen is said here as such (`AttemptState.UNKNOWN`, `metrics=None`), never as zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from tidemill_operator.core.queueing import Queueing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill_api.conditions import Reason
    from tidemill_api.job_contract import Outcome, Phase
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus
    from tidemill_operator.core.boost import Boost
    from tidemill_operator.core.deadline.estimates import Measure
    from tidemill_operator.core.deadline.turns import Turn


@dataclass(frozen=True)
class JobView:
    """A BatchInferenceJob: `spec` is None where it is wrong, and `spec_problem` says how.

    `outdated` says what of it would keep a new job from beginning, where this one has begun.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    spec: BatchInferenceJobSpec | None
    spec_problem: str
    status: BatchInferenceJobStatus
    outdated: str = ""
    boost: Boost | None = None
    queueing: Queueing = field(default_factory=Queueing)
    resource_version: str = ""  # of the object as it was read
    held: bool = False  # deleted, and kept by a finalizer that is neither ours nor the garbage collector's


@dataclass(frozen=True)
class ClusterView:
    """The job's RayCluster as KubeRay reports it.

    `fixed`: it goes by a Kueue queue and is no elastic job, so that its size must not change while it runs.
    `suspended_since`: since when all of its pods have to wait, which is Kueue's to say where it has a `queue`.
    """

    name: str
    uid: str
    deleting: bool
    head_ready: bool
    head_ip: str
    head_problem: str  # why the head is not ready, for people; empty where nothing is known
    replicas: int
    max_replicas: int
    workers_to_delete: tuple[str, ...]
    worker_problem: str = ""  # why workers are missing, for people
    head_ready_since: datetime | None = None
    head_away_since: datetime | None = None  # since when it has not been ready
    creation_refused: bool = False  # KubeRay may not create the worker pods that are missing: a quota, say
    fixed: bool = False
    queue: str = ""
    suspended_since: datetime | None = None
    generation: int | None = None  # of its spec, as it was seen
    no_room: bool = False  # what keeps pods from being ready is that no node takes one, or a quota


@dataclass(frozen=True)
class WorkerPod:
    """A worker pod that exists; `deleting` ones have been told to go."""

    name: str
    ip: str
    ready: bool
    deleting: bool
    created: datetime | None = None


class AttemptState(StrEnum):
    """What is known of the newest attempt whose end is not accounted for."""

    NONE = "none"  # there is no such attempt
    ACTIVE = "active"  # submitted, and not ended
    ENDED = "ended"  # by itself, with an outcome or without one
    STOPPED = "stopped"  # on request
    LOST = "lost"  # Ray does not know it, or there is no cluster: its head is gone
    UNKNOWN = "unknown"  # Ray does not answer


@dataclass(frozen=True)
class AttemptView:
    """The newest attempt. `outcome` and `log_tail` are set once it ended; `problem` says why the state is unknown.

    `submitted` is Ray's word where it was asked: an attempt that publishes figures is known by them alone.
    """

    state: AttemptState
    outcome: Outcome | None = None
    log_tail: str = ""
    problem: str = ""
    submitted: datetime | None = None


@dataclass(frozen=True)
class DriverMetrics:
    """The live figures of the newest attempt. `rows_total` is None until the input was counted.

    Completed rows and tokens are None until the output folder was looked through for answers, and for good in an
    attempt that only ends the job.
    """

    phase: Phase
    rows_total: int | None = None
    rows_validated: int = 0
    rows_completed: int | None = None
    rows_failed: int = 0
    rows_per_worker: int | None = None
    rows_per_second: float | None = None  # over the last minute of work
    in_flight: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # rows by node IP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def rows_answered(self) -> int:
        """Rows that are known to have a line, a result or an error."""
        return (self.rows_completed or 0) + self.rows_failed


@dataclass(frozen=True)
class SourceView:
    """The job that another one is resubmitted of."""

    finished: bool
    output_uri: str
    unwritten: str = ""  # the reason of its end where it ended without result files, which will never come
    circle: tuple[str, ...] = ()  # names from this job back to itself, each of which waits for the next


@dataclass(frozen=True)
class Elsewhere:
    """What other jobs of the same model and resources measured of a worker: rows a second, and seconds to start."""

    rates: tuple[Measure, ...] = ()
    startups: tuple[Measure, ...] = ()


@dataclass(frozen=True)
class Rejection:
    """What the API server said to the cluster we wanted to create in this very pass."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Tuning:
    """The operator's settings that decisions depend on."""

    backoff_min: timedelta = timedelta(seconds=30)
    backoff_max: timedelta = timedelta(minutes=10)
    poll: timedelta = timedelta(seconds=2)
    start_poll: timedelta = timedelta(seconds=0.5)


@dataclass(frozen=True)
class Snapshot:
    """Everything that a plan is made from, at the moment `now`."""

    now: datetime
    job: JobView
    tuning: Tuning = Tuning()
    cluster: ClusterView | None = None
    workers: tuple[WorkerPod, ...] = ()
    pods: int = 0  # of the cluster's name that have not ended, the head's among them; they outlive the RayCluster
    attempt: AttemptView = AttemptView(AttemptState.NONE)
    metrics: DriverMetrics | None = None
    metrics_problem: str = ""  # why there are no metrics, for people
    source: SourceView | None = None  # the job named by resubmitOf, where it exists
    rejection: Rejection | None = None
    submit_problem: str = ""  # why Ray did not take the driver in this very pass
    submit_refused: bool = False  # whether Ray said that it never will, as it is asked now
    elsewhere: Elsewhere = Elsewhere()
    share: int | None = None  # workers that the namespace's GPU budget leaves it; None where there is no budget
    turn: Turn | None = None  # what that budget leaves it until its window ends; None as above

    @property
    def deadline(self) -> datetime | None:
        """When the completion window ends; None where the spec cannot be read."""
        return self.job.created + self.job.spec.window if self.job.spec else None
