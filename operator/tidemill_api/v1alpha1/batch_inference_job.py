"""BatchInferenceJob: a JSONL file of requests in, a JSONL file of results out, within a completion window.

A rule stands beside its field, once for the API server (CEL) and once for pydantic.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from tidemill_api.custom_resource import CustomResource, PrinterColumn, Rule
from tidemill_api.markers import (
    CpuQuantity,
    MemoryQuantity,
    immutable,
    immutable_or_absent,
    rule_about,
    rules,
    together,
)
from tidemill_api.v1alpha1.batch_inference_job_status import (
    BatchInferenceJobStatus,
    Condition,
    DriverStatus,
    OutputStatus,
    RowsStatus,
    TokensStatus,
    WorkersStatus,
)
from tidemill_api.v1alpha1.common import DNS_SUBDOMAIN, ApiModel, ModelSpec
from tidemill_api.v1alpha1.pod_template import PodTemplate
from tidemill_api.v1alpha1.queue_status import ForecastStatus, QueueStatus
from tidemill_api.v1alpha1.reserved import under_a_mount
from tidemill_api.v1alpha1.uris import INPUT_RULES, OUTPUT_RULES, check_input, check_output
from tidemill_api.v1alpha1.windows import (
    TARGET_IN_WINDOW,
    TARGET_IN_WINDOW_MESSAGE,
    TARGET_RULES,
    WINDOW_PATTERN,
    WINDOW_RULES,
    CheaperHours,
    parse_target,
    parse_window,
)

__all__ = [
    "BATCH_INFERENCE_JOB",
    "KIND",
    "PLURAL",
    "BatchInferenceJobSpec",
    "BatchInferenceJobStatus",
    "Condition",
    "DriverStatus",
    "ForecastStatus",
    "HeadResources",
    "InputSpec",
    "OutputSpec",
    "OutputStatus",
    "QueueStatus",
    "RetrySpec",
    "RowsStatus",
    "TokensStatus",
    "WorkerBounds",
    "WorkerResources",
    "WorkersStatus",
    "parse_window",
]

KIND = "BatchInferenceJob"
PLURAL = "batchinferencejobs"

LONG_WINDOW = timedelta(hours=8)
"""Above this a warning says why: results that come the next day are results that people stop waiting for."""

TARGET_SHARE = 3
"""Without a targetCompletion, a job is to be done in this part of its window: it warns with a third of it left."""

_HOURS_MESSAGE = "cheaperHours needs schedule: LatestSafe; a job that starts at once waits for no hour"
_HOURS_RULE = "!has(self.cheaperHours) || size(self.cheaperHours) == 0 || self.schedule == 'LatestSafe'"


class InputSpec(ApiModel):
    """Where the requests are, and what becomes of lines that are none."""

    uri: str = Field(
        min_length=2,
        max_length=2048,
        description="uri of the JSONL file of requests: a path under a mount of the template (file:// is allowed),"
        " s3://bucket/key, gs://bucket/key or http(s)://host/path.",
        json_schema_extra=INPUT_RULES,
    )
    on_invalid: Literal["Fail", "Skip"] = Field(
        default="Fail",
        description="onInvalid: Fail ends the job before anything runs where a line is wrong, Skip gives each such"
        " line an error line and runs the others.",
    )

    @field_validator("uri")
    @classmethod
    def _uri_of_a_plain_file(cls, uri: str) -> str:
        return check_input(uri)


class OutputSpec(ApiModel):
    """Where the results go."""

    uri: str = Field(
        min_length=2,
        max_length=2048,
        description="uri of the folder for results: a path under a writable mount, s3://bucket/prefix/ or"
        " gs://bucket/prefix/. It belongs to one job's identity.",
        json_schema_extra=OUTPUT_RULES,
    )

    @field_validator("uri")
    @classmethod
    def _uri_of_a_folder(cls, uri: str) -> str:
        return check_output(uri)


class RetrySpec(ApiModel):
    """How often a row is tried where its fault can pass: 408, 429 and 5xx. A row's own mistake is never retried."""

    max_attempts: int = Field(default=3, ge=1, le=10, description="maxAttempts of a row in all, 1 to 10.")
    backoff_seconds: int = Field(
        default=2,
        ge=0,
        le=300,
        description="backoffSeconds, 0 to 300: the second try of a row waits up to this, each further one up to twice "
        "as long, none longer than 300.",
    )


class WorkerBounds(ApiModel):
    """How many worker pods may run, one engine each."""

    min: int = Field(default=0, ge=0, le=1000, description="min worker pods once validation passed, 0 to 1000.")
    max: int = Field(default=1, ge=1, le=1000, description="max worker pods, 1 to 1000, at least min.")

    @model_validator(mode="after")
    def _ordered(self) -> WorkerBounds:
        if self.min > self.max:
            raise ValueError(f"workers.min must not be above workers.max, but {self.min} > {self.max}")
        return self


class WorkerResources(ApiModel):
    """What one worker pod asks for; its engine uses all of it."""

    gpu: int = Field(
        default=0, ge=0, le=16, description="gpu devices of a worker and tensor parallel size, 0 to 16; 0 runs on CPU."
    )
    gpu_resource_name: str = Field(
        default="nvidia.com/gpu",
        min_length=3,
        max_length=317,
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        description="gpuResourceName of the device plugin, such as nvidia.com/mig-1g.10gb or amd.com/gpu.",
    )
    cpu: CpuQuantity = Field(default="1", description="cpu of a worker as a quantity, such as 4 or 500m.")
    memory: MemoryQuantity = Field(default="4Gi", description="memory of a worker as a quantity, such as 16Gi.")


class HeadResources(ApiModel):
    """What the head pod asks for: it validates, drives and joins, and runs no model."""

    cpu: CpuQuantity = Field(default="1", description="cpu of the head as a quantity, such as 1 or 500m.")
    memory: MemoryQuantity = Field(default="4Gi", description="memory of the head as a quantity, such as 4Gi.")


class BatchInferenceJobSpec(ApiModel):
    """What the user asks for."""

    model_config = ConfigDict(
        json_schema_extra=together(
            immutable_or_absent("maxFailedRows"),
            rule_about("targetCompletion", TARGET_IN_WINDOW, TARGET_IN_WINDOW_MESSAGE),
            rule_about("cheaperHours", _HOURS_RULE, _HOURS_MESSAGE),
            *(rule_about(*under_a_mount(field)) for field in ("input.uri", "output.uri", "model.source")),
        )
    )

    model: ModelSpec = Field(description="model that answers. Immutable.", json_schema_extra=immutable("model"))
    input: InputSpec = Field(description="input of the job. Immutable.", json_schema_extra=immutable("input"))
    output: OutputSpec = Field(description="output of the job. Immutable.", json_schema_extra=immutable("output"))
    completion_window: str = Field(
        default="8h",
        min_length=2,
        max_length=16,
        pattern=WINDOW_PATTERN,
        description="completionWindow from creation within which all rows are answered, 5m to 14d, such as 4h.",
        json_schema_extra=WINDOW_RULES,
    )
    target_completion: str | None = Field(
        default=None,
        min_length=2,
        max_length=16,
        pattern=WINDOW_PATTERN,
        description="targetCompletion from creation within which the job is planned to be done and above which it is"
        " late in stages: Warning at 2 and Critical at 3 times it; 1m to completionWindow. Default: a third of it.",
        json_schema_extra=TARGET_RULES,
    )
    schedule: Literal["Asap", "LatestSafe"] = Field(
        default="Asap",
        description="schedule: Asap works from the start. LatestSafe validates at once, and then runs no pod until it"
        " has to begin to be done in time, or until cheaperHours.",
    )
    cheaper_hours: tuple[CheaperHours, ...] = Field(
        default=(),
        max_length=8,
        description="cheaperHours of each day in which a job of schedule LatestSafe prefers to work, at most 8; where"
        " two overlap, the lower priceFactor counts.",
    )
    on_deadline: Literal["Expire", "Continue"] = Field(
        default="Expire",
        description="onDeadline: Expire ends the job with its window, each row without an answer getting an error"
        " line. Continue works on, late, which condition WindowAtRisk says.",
    )
    workers: WorkerBounds = Field(
        default_factory=WorkerBounds,
        description="workers: how many pods may run.",
        json_schema_extra=rules(("self.min <= self.max", "workers.min must not be above workers.max")),
    )
    resources: WorkerResources = Field(
        default_factory=WorkerResources,
        description="resources of a worker. Immutable.",
        json_schema_extra=immutable("resources"),
    )
    head: HeadResources = Field(
        default_factory=HeadResources,
        description="head pod's resources. Immutable.",
        json_schema_extra=immutable("head"),
    )
    image: str = Field(
        default="",
        max_length=1024,
        pattern=r"^\S*$",
        description="image of the pods. Default: the operator's setting for CPU or GPU. Immutable.",
        json_schema_extra=immutable("image"),
    )
    retry: RetrySpec = Field(
        default_factory=RetrySpec,
        description="retry of single rows. Immutable.",
        json_schema_extra=immutable("retry"),
    )
    max_failed_rows: int | None = Field(
        default=None,
        ge=0,
        le=2**53 - 1,
        description="maxFailedRows: more rows with an error line than this end the job. Default: no bound. Immutable.",
    )
    suspend: bool = Field(
        default=False,
        strict=True,
        description="suspend stops the work and removes every pod; the window goes on. False again: the job continues.",
    )
    cancel: bool = Field(
        default=False,
        strict=True,
        description="cancel ends the job: each row without an answer gets an error line. Cannot be taken back.",
        json_schema_extra=rules(
            ("self || !oldSelf", "cancel cannot be taken back: create a new job, with resubmitOf to run only the rest")
        ),
    )
    resubmit_of: str = Field(
        default="",
        max_length=253,
        pattern=f"^$|{DNS_SUBDOMAIN}",
        description="resubmitOf names a finished job of the same namespace: its 2xx lines are taken over, and only the"
        " other rows run. Immutable.",
        json_schema_extra=immutable("resubmitOf"),
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="ttlSecondsAfterFinished deletes the job object so long after its end, 0 to 31536000; files stay."
        " Default: never.",
    )
    template: PodTemplate = Field(
        default_factory=PodTemplate,
        description="template: settings of the pods. Immutable.",
        json_schema_extra=immutable("template"),
    )

    @field_validator("completion_window")
    @classmethod
    def _window_in_bounds(cls, text: str) -> str:
        parse_window(text)
        return text

    @field_validator("target_completion")
    @classmethod
    def _target_in_bounds(cls, text: str | None, info: ValidationInfo) -> str | None:
        window = info.data.get("completion_window")
        if text is not None and window is not None and parse_target(text) > parse_window(window):
            raise ValueError(f"{TARGET_IN_WINDOW_MESSAGE}, which is {window}")
        return text

    @field_validator("cheaper_hours")
    @classmethod
    def _hours_of_one_that_waits(
        cls, hours: tuple[CheaperHours, ...], info: ValidationInfo
    ) -> tuple[CheaperHours, ...]:
        if hours and info.data.get("schedule", "LatestSafe") != "LatestSafe":
            raise ValueError(_HOURS_MESSAGE)
        return hours

    @property
    def target(self) -> timedelta:
        """The time from creation in which the job is planned to be done."""
        return self.window / TARGET_SHARE if self.target_completion is None else parse_target(self.target_completion)

    @property
    def window(self) -> timedelta:
        """The completion window as a duration."""
        return parse_window(self.completion_window)


NOT_ITSELF = Rule(
    rule="!has(self.spec.resubmitOf) || self.spec.resubmitOf == '' || self.spec.resubmitOf != self.metadata.name",
    message="resubmitOf must name another job than this one",
    field_path=".spec.resubmitOf",
)


def _condition(condition: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{condition}")].{field}'


BATCH_INFERENCE_JOB = CustomResource(
    kind=KIND,
    plural=PLURAL,
    short_names=("bij",),
    description="BatchInferenceJob answers a JSONL file of requests with a model, within a completion window.",
    spec=BatchInferenceJobSpec,
    status=BatchInferenceJobStatus,
    rules=(NOT_ITSELF,),
    columns=(
        PrinterColumn("Model", "string", ".spec.model.name", "The model that answers."),
        PrinterColumn("Status", "string", _condition("Progressing", "reason"), "What is being done or awaited."),
        PrinterColumn("Total", "integer", ".status.rows.total", "Rows of the input."),
        PrinterColumn("Completed", "integer", ".status.rows.completed", "Rows that have a result line."),
        PrinterColumn("Failed", "integer", ".status.rows.failed", "Rows that have an error line."),
        PrinterColumn("Workers", "integer", ".status.workers.ready", "Worker pods that are ready."),
        PrinterColumn("Succeeded", "string", _condition("Succeeded", "status"), "Unknown until the end."),
        PrinterColumn("ETA", "string", ".status.forecast.finishTime", "When the last row is expected to be answered."),
        PrinterColumn("Health", "string", ".status.queue.health", "Healthy, Warning or Critical by age and target."),
        PrinterColumn("At-Risk", "string", _condition("WindowAtRisk", "status"), "Whether it may miss its window."),
        PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
        PrinterColumn("Reason", "string", _condition("Succeeded", "reason"), "How the job ended.", 1),
        PrinterColumn("Window", "string", ".spec.completionWindow", "Time within which all rows are answered.", 1),
        PrinterColumn("In-Window", "string", ".status.forecast.meetsWindow", "Whether the forecast is within it.", 1),
        PrinterColumn("Chance", "integer", ".status.forecast.chancePercent", "Percent, to be done within it.", 1),
        PrinterColumn("Risk", "string", _condition("WindowAtRisk", "reason"), "Why it may miss its window.", 1),
        PrinterColumn("Starts", "string", ".status.planned.startTime", "When the work is planned to begin.", 1),
        PrinterColumn("Age-Ratio", "string", ".status.queue.ageRatio", "Age of the oldest row by the target.", 1),
        PrinterColumn("Desired", "integer", ".status.workers.desired", "Worker pods wanted.", 1),
        PrinterColumn("Input", "string", ".spec.input.uri", "The file of requests.", 1),
        PrinterColumn("Output", "string", ".spec.output.uri", "The folder of results.", 1),
        PrinterColumn("Finished", "date", ".status.completionTime", "Time since the end.", 1),
    ),
)
