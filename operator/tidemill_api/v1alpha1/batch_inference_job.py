"""BatchInferenceJob: a JSONL file of requests in, a JSONL file of results out, within a completion window."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic import AwareDatetime, Field, field_validator, model_validator

from tidemill_api.v1alpha1.common import QUANTITY, ApiModel, ModelSpec
from tidemill_api.v1alpha1.pod_template import PodTemplate

KIND = "BatchInferenceJob"
PLURAL = "batchinferencejobs"

_WINDOW = re.compile(r"^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?$")
MIN_WINDOW = timedelta(minutes=5)
MAX_WINDOW = timedelta(days=14)
LONG_WINDOW = timedelta(hours=8)
"""Above this a warning says why: results that come the next day are results that people stop waiting for."""


def parse_window(text: str) -> timedelta:
    """A completion window such as `4h`, `90m`, `1d12h` as a duration.

    Raises ValueError, with what to write instead, for another form or outside of 5m to 14d.
    """
    match = _WINDOW.match(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"completionWindow {text!r} is not a duration such as 30m, 4h or 1d12h")
    days, hours, minutes = (int(group or 0) for group in match.groups())
    window = timedelta(days=days, hours=hours, minutes=minutes)
    if not MIN_WINDOW <= window <= MAX_WINDOW:
        raise ValueError(f"completionWindow {text!r} is outside of 5m to 14d")
    return window


class InputSpec(ApiModel):
    """Where the requests are."""

    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="uri of the JSONL file of requests: a path under a mount of the template (file:// is allowed).",
    )


class OutputSpec(ApiModel):
    """Where the results go."""

    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="uri of the folder for results: a path under a writable mount. It belongs to one job's identity.",
    )


class WorkerBounds(ApiModel):
    """How many worker pods may run, one engine each."""

    min: int = Field(default=0, ge=0, le=1000, description="min worker pods once validation passed, 0 to 1000.")
    max: int = Field(default=1, ge=1, le=1000, description="max worker pods, 1 to 1000, at least min.")

    @model_validator(mode="after")
    def _ordered(self) -> WorkerBounds:
        if self.min > self.max:
            raise ValueError(f"workers.min {self.min} is above workers.max {self.max}")
        return self


class WorkerResources(ApiModel):
    """What one worker pod asks for; its engine uses all of it."""

    gpu: int = Field(
        default=0, ge=0, le=16, description="gpu devices of a worker and tensor parallel size; 0 runs on CPU."
    )
    gpu_resource_name: str = Field(
        default="nvidia.com/gpu",
        min_length=3,
        max_length=317,
        pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$",
        description="gpuResourceName of the device plugin, such as nvidia.com/mig-1g.10gb or amd.com/gpu.",
    )
    cpu: str = Field(default="1", max_length=20, pattern=QUANTITY, description="cpu of a worker as a quantity.")
    memory: str = Field(default="4Gi", max_length=20, pattern=QUANTITY, description="memory of a worker as a quantity.")


class HeadResources(ApiModel):
    """What the head pod asks for: it validates, drives and joins, and runs no model."""

    cpu: str = Field(default="1", max_length=20, pattern=QUANTITY, description="cpu of the head as a quantity.")
    memory: str = Field(default="4Gi", max_length=20, pattern=QUANTITY, description="memory of the head as a quantity.")


class BatchInferenceJobSpec(ApiModel):
    """What the user asks for."""

    model: ModelSpec = Field(description="model that answers. Immutable.")
    input: InputSpec = Field(description="input of the job. Immutable.")
    output: OutputSpec = Field(description="output of the job. Immutable.")
    completion_window: str = Field(
        default="24h",
        max_length=16,
        description="completionWindow from creation within which all rows are answered, 5m to 14d, such as 4h.",
    )
    workers: WorkerBounds = Field(default_factory=WorkerBounds, description="workers: how many pods may run.")
    resources: WorkerResources = Field(default_factory=WorkerResources, description="resources of a worker. Immutable.")
    head: HeadResources = Field(default_factory=HeadResources, description="head pod's resources. Immutable.")
    image: str = Field(default="", max_length=1024, description="image of the pods. Default: the operator's setting.")
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="ttlSecondsAfterFinished deletes the job object so long after its end; its files stay. Default: never.",
    )
    template: PodTemplate = Field(default_factory=PodTemplate, description="template: settings of the pods. Immutable.")

    @field_validator("completion_window")
    @classmethod
    def _window_in_bounds(cls, text: str) -> str:
        parse_window(text)
        return text

    @property
    def window(self) -> timedelta:
        """The completion window as a duration."""
        return parse_window(self.completion_window)


class Condition(ApiModel):
    """A Kubernetes condition; lastTransitionTime moves only when status flips."""

    type: str = Field(min_length=1, max_length=316, description="type of the condition.")
    status: str = Field(pattern="^(True|False|Unknown)$", max_length=7, description="status: True, False or Unknown.")
    observed_generation: int = Field(default=0, ge=0, description="observedGeneration of the spec it speaks of.")
    last_transition_time: AwareDatetime = Field(description="lastTransitionTime when status flipped.")
    reason: str = Field(
        min_length=1, max_length=1024, pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="reason, a constant."
    )
    message: str = Field(default="", max_length=32768, description="message for people: what is and what to do.")


class RowsStatus(ApiModel):
    """Rows of the input by what became of them."""

    total: int = Field(default=0, ge=0, description="total rows of the input, 0 until validated.")
    completed: int = Field(default=0, ge=0, description="completed rows have a result line.")
    failed: int = Field(default=0, ge=0, description="failed rows have an error line.")
    remaining: int = Field(default=0, ge=0, description="remaining rows have no line yet.")


class TokensStatus(ApiModel):
    """Tokens of the answered rows."""

    prompt: int = Field(default=0, ge=0, description="prompt tokens read.")
    completion: int = Field(default=0, ge=0, description="completion tokens written.")


class WorkersStatus(ApiModel):
    """Worker pods now."""

    desired: int = Field(default=0, ge=0, description="desired worker pods by the scaling law.")
    ready: int = Field(default=0, ge=0, description="ready worker pods.")


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

    attempt: int = Field(default=0, ge=0, description="attempt submitted last, 0 before the first.")
    ended_attempt: int = Field(default=0, ge=0, description="endedAttempt: newest attempt whose end is accounted for.")
    failures: int = Field(default=0, ge=0, description="failures in a row without one new row.")
    rows_at_failure: int = Field(default=0, ge=0, description="rowsAtFailure: rows answered when the last one failed.")
    retry_time: AwareDatetime | None = Field(default=None, description="retryTime before which no attempt is made.")


class BatchInferenceJobStatus(ApiModel):
    """What the operator observes. Written once per reconcile."""

    observed_generation: int = Field(default=0, ge=0, description="observedGeneration this status speaks of.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="conditions, one per type.")
    start_time: AwareDatetime | None = Field(default=None, description="startTime when the operator first saw the job.")
    completion_time: AwareDatetime | None = Field(default=None, description="completionTime when the job finished.")
    rows: RowsStatus = Field(default_factory=RowsStatus, description="rows by what became of them.")
    tokens: TokensStatus = Field(default_factory=TokensStatus, description="tokens of the answered rows.")
    workers: WorkersStatus = Field(default_factory=WorkersStatus, description="workers now.")
    output: OutputStatus = Field(default_factory=OutputStatus, description="output files of a finished job.")
    driver: DriverStatus = Field(default_factory=DriverStatus, description="driver attempts.")
    cluster_name: str = Field(
        default="", max_length=63, description="clusterName of the RayCluster while there is one."
    )
