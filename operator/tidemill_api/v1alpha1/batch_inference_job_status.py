"""What the operator observes of a BatchInferenceJob: counts, references and conditions, never histories.

Every figure is written by the operator in one status update per reconcile; the schema gives no defaults here, so
nothing that stands in a status was made up by the API server. Refuses to hold anything a user may set.
"""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from tidemill_api.job_contract import Ending  # noqa: TC001 - pydantic reads it
from tidemill_api.markers import list_map
from tidemill_api.v1alpha1.common import ApiModel, Count
from tidemill_api.v1alpha1.queue_status import ForecastStatus, MeasuredStatus, PlannedStatus, QueueStatus


class Condition(ApiModel):
    """A Kubernetes condition; lastTransitionTime moves only when status flips."""

    type: str = Field(min_length=1, max_length=316, description="type of the condition.")
    status: str = Field(pattern="^(True|False|Unknown)$", max_length=7, description="status: True, False or Unknown.")
    observed_generation: Count = Field(default=0, description="observedGeneration of the spec it speaks of.")
    last_transition_time: AwareDatetime = Field(description="lastTransitionTime when status flipped.")
    reason: str = Field(
        min_length=1, max_length=1024, pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="reason, a constant."
    )
    message: str = Field(default="", max_length=32768, description="message for people: what is and what to do.")


class RowsStatus(ApiModel):
    """Rows of the input by what became of them."""

    total: Count = Field(default=0, description="total rows of the input, 0 until validated.")
    completed: Count = Field(default=0, description="completed rows have a result line.")
    failed: Count = Field(default=0, description="failed rows have an error line.")
    remaining: Count = Field(default=0, description="remaining rows have no line yet.")

    @classmethod
    def counted(cls, total: int, completed: int, failed: int) -> RowsStatus:
        """The rows of an input of `total`: what has no line yet remains."""
        return cls(total=total, completed=completed, failed=failed, remaining=max(total - completed - failed, 0))


class TokensStatus(ApiModel):
    """Tokens of the answered rows."""

    prompt: Count = Field(default=0, description="prompt tokens read.")
    completion: Count = Field(default=0, description="completion tokens written.")


class WorkersStatus(ApiModel):
    """Worker pods now."""

    desired: int = Field(default=0, ge=0, le=1000, description="desired worker pods by the scaling law.")
    ready: int = Field(default=0, ge=0, le=1000, description="ready worker pods.")


class OutputStatus(ApiModel):
    """Where the files of a finished job lie."""

    results_uri: str = Field(
        default="", alias="resultsURI", max_length=4096, description="resultsURI of the result lines."
    )
    errors_uri: str = Field(default="", alias="errorsURI", max_length=4096, description="errorsURI of the error lines.")
    validation_uri: str = Field(
        default="",
        alias="validationURI",
        max_length=4096,
        description="validationURI of the list of bad lines.",
    )


class DriverStatus(ApiModel):
    """The driver's attempts: what a reconcile must know after the head that ran them is gone."""

    attempt: int = Field(default=0, ge=0, le=2**31 - 1, description="attempt submitted last, 0 before the first.")
    ended_attempt: int = Field(
        default=0, ge=0, le=2**31 - 1, description="endedAttempt: newest attempt whose end is accounted for."
    )
    failures: int = Field(default=0, ge=0, le=2**31 - 1, description="failures in a row without one new row.")
    rows_at_failure: Count = Field(default=0, description="rowsAtFailure: rows answered when the last one failed.")
    waits: int = Field(
        default=0, ge=0, le=2**31 - 1, description="waits in a row for something outside, such as a missing input."
    )
    pool_size: int = Field(
        default=0, ge=0, le=1000, description="poolSize in engines that the newest attempt was given: its workers.max."
    )
    retry_time: AwareDatetime | None = Field(default=None, description="retryTime before which no attempt is made.")
    finalising_attempt: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="finalisingAttempt: newest attempt seen to join the results.",
    )
    ending: Ending | None = Field(
        default=None, description="ending that the newest attempt was told to bring about, with error lines; else none."
    )
    ending_time: AwareDatetime | None = Field(
        default=None, description="endingTime since which a cancelled or expired job is being ended."
    )
    suspend_time: AwareDatetime | None = Field(
        default=None, description="suspendTime since which the job is being suspended."
    )
    resubmit_of_uri: str = Field(
        default="",
        alias="resubmitOfURI",
        max_length=2049,
        description="resubmitOfURI of the output folder that answered rows were taken over from.",
    )


class BatchInferenceJobStatus(ApiModel):
    """What the operator observes. Written once per reconcile."""

    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="conditions Validated, Progressing, Suspended, WindowAtRisk, Succeeded and Finished, one per type.",
        json_schema_extra=list_map("type"),
    )
    observed_generation: Count = Field(default=0, description="observedGeneration this status speaks of.")
    start_time: AwareDatetime | None = Field(default=None, description="startTime when the operator first saw the job.")
    completion_time: AwareDatetime | None = Field(default=None, description="completionTime when the job finished.")
    rows: RowsStatus = Field(default_factory=RowsStatus, description="rows by what became of them.")
    tokens: TokensStatus = Field(default_factory=TokensStatus, description="tokens of the answered rows.")
    queue: QueueStatus = Field(default_factory=QueueStatus, description="queue of rows without a line.")
    workers: WorkersStatus = Field(default_factory=WorkersStatus, description="workers now.")
    forecast: ForecastStatus | None = Field(default=None, description="forecast of the end, while a rate is known.")
    planned: PlannedStatus | None = Field(default=None, description="planned start and finish of the work.")
    measured: MeasuredStatus = Field(
        default_factory=MeasuredStatus, description="measured speed of this job's workers."
    )
    output: OutputStatus = Field(default_factory=OutputStatus, description="output files of a finished job.")
    driver: DriverStatus = Field(default_factory=DriverStatus, description="driver attempts.")
    cluster_name: str = Field(
        default="", max_length=63, description="clusterName of the RayCluster while there is one."
    )
