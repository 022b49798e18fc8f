"""What the operator observes of a RealtimeEndpoint: figures, references and conditions, never histories.

Beside what people read, it holds what a decision must know after the operator was restarted: when the size changed
last, and since when fewer replicas would do. Refuses to hold anything a user may set.
"""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from tidemill_api.markers import list_map
from tidemill_api.v1alpha1.batch_inference_job_status import Condition  # noqa: TC001 - pydantic reads it
from tidemill_api.v1alpha1.common import ApiModel, Count
from tidemill_api.v1alpha1.queue_status import QueueHealth, QueueReason, Rate  # noqa: TC001 - pydantic reads them


class EndpointQueueStatus(ApiModel):
    """The requests that are not answered yet."""

    depth: Count = Field(default=0, description="depth in requests, waiting and running.")
    oldest_age_seconds: Count = Field(
        default=0, description="oldestAgeSeconds of a request without its first token; 0 where none waits."
    )
    age_ratio: str = Field(
        default="0.00",
        max_length=12,
        pattern=r"^[0-9]{1,9}[.][0-9]{2}$",
        description="ageRatio of the oldest age to the target age, a decimal: above 1.00 the endpoint grows.",
    )
    health: QueueHealth = Field(
        default="Unknown", description="health: Healthy, Warning (ageRatio 2 and more), Critical (3 and more), Unknown."
    )
    reason: QueueReason = Field(default="", description="reason of the health, a constant.")
    arrived_per_second: Rate = Field(
        default="0", description="arrivedPerSecond in requests, over about the last minute; those turned away count."
    )
    completed_per_second: Rate = Field(
        default="0", description="completedPerSecond in requests that were answered, over about the last minute."
    )
    answered: Count = Field(default=0, description="answered requests that the replicas counted at countedTime.")
    unanswered: Count = Field(
        default=0, description="unanswered requests that they counted: turned away, timed out, or left by the client."
    )
    counted_time: AwareDatetime | None = Field(
        default=None,
        description="countedTime when every replica was asked last; before observedTime while figures are missing.",
    )
    observed_time: AwareDatetime | None = Field(default=None, description="observedTime of these figures.")


class RevisionStatus(ApiModel):
    """Which revisions there are: one serves; while the spec's is another, that one is being brought up."""

    serving: str = Field(default="", max_length=32, description="serving revision, that the Service leads to.")
    serving_time: AwareDatetime | None = Field(default=None, description="servingTime since when it serves.")
    wanted: str = Field(default="", max_length=32, description="wanted revision, of the spec as it is now.")
    wanted_time: AwareDatetime | None = Field(default=None, description="wantedTime since when it is wanted.")


class ScalingStatus(ApiModel):
    """What the scaling law must know of the past."""

    last_scale_time: AwareDatetime | None = Field(
        default=None, description="lastScaleTime when the wanted size changed; older figures do not count."
    )
    last_start_time: AwareDatetime | None = Field(
        default=None, description="lastStartTime when a replica began to answer; what waited before it does not count."
    )
    lower_since: AwareDatetime | None = Field(
        default=None, description="lowerSince when fewer replicas would do, without a break."
    )
    lower_peak: int = Field(
        default=0, ge=0, le=1000, description="lowerPeak: the most replicas that were needed since then."
    )
    idle_since: AwareDatetime | None = Field(default=None, description="idleSince when there was no request.")


class StartupStatus(ApiModel):
    """Tries of the wanted revision to start its first replica."""

    attempt: int = Field(default=1, ge=1, le=2**31 - 1, description="attempt that Serve is told to make.")
    waits: int = Field(default=0, ge=0, le=2**31 - 1, description="waits in a row after tries that failed.")
    retry_time: AwareDatetime | None = Field(default=None, description="retryTime before which no try is made.")


class RealtimeEndpointStatus(ApiModel):
    """What the operator observes. Written once per reconcile."""

    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="conditions Progressing, Available and Ready, one per type.",
        json_schema_extra=list_map("type"),
    )
    observed_generation: Count = Field(default=0, description="observedGeneration this status speaks of.")
    url: str = Field(default="", max_length=512, description="url for OpenAI clients (base_url), from in the cluster.")
    replicas: int = Field(default=0, ge=0, le=1000, description="replicas wanted by the scaling law.")
    ready_replicas: int = Field(default=0, ge=0, le=1000, description="readyReplicas that answer requests.")
    selector: str = Field(default="", max_length=512, description="selector of the worker pods, for the scale API.")
    queue: EndpointQueueStatus = Field(default_factory=EndpointQueueStatus, description="queue of the endpoint.")
    revision: RevisionStatus = Field(default_factory=RevisionStatus, description="revision that serves and is wanted.")
    scaling: ScalingStatus = Field(default_factory=ScalingStatus, description="scaling as it was last.")
    startup: StartupStatus = Field(default_factory=StartupStatus, description="startup of the wanted revision.")
