"""BatchInferenceJob: a JSONL file of requests in, a JSONL file of results out, within a completion window.

A rule stands beside its field, once for the API server (CEL) and once for pydantic.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from tidemill_api.custom_resource import CustomResource, PrinterColumn, Rule
from tidemill_api.markers import CpuQuantity, MemoryQuantity, immutable, immutable_or_absent, rules
from tidemill_api.v1alpha1.batch_inference_job_status import (
    BatchInferenceJobStatus,
    Condition,
    DriverStatus,
    ForecastStatus,
    OutputStatus,
    QueueStatus,
    RowsStatus,
    TokensStatus,
    WorkersStatus,
)
from tidemill_api.v1alpha1.common import DNS_SUBDOMAIN, ApiModel, ModelSpec
from tidemill_api.v1alpha1.pod_template import PodTemplate
from tidemill_api.v1alpha1.uris import INPUT_RULES, OUTPUT_RULES, check_input, check_output

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

MIN_WINDOW = timedelta(minutes=5)
MAX_WINDOW = timedelta(days=14)
LONG_WINDOW = timedelta(hours=8)
"""Above this a warning says why: results that come the next day are results that people stop waiting for."""

WINDOW_PATTERN = r"^([1-9][0-9]?d)?([1-9][0-9]{0,2}h)?([1-9][0-9]{0,4}m)?$"
_WINDOW = re.compile(WINDOW_PATTERN)
_WINDOW_MESSAGE = "completionWindow must be 5m to 14d, such as 30m, 4h or 1d12h (beside days, below 24h and 60m)"
# CEL's duration() knows no days, so windows with days are judged by their form and the others by their length.
_WINDOW_RULE = (
    "self.contains('d')"
    " ? self.matches('^(([1-9]|1[0-3])d([1-9]h|1[0-9]h|2[0-3]h)?([1-9]m|[1-5][0-9]m)?|14d)$')"
    " : duration(self) >= duration('5m') && duration(self) <= duration('336h')"
)


def parse_window(text: str) -> timedelta:
    """A completion window such as `4h`, `90m`, `1d12h` as a duration.

    Raises ValueError, with what to write instead, for another form or outside of 5m to 14d.
    """
    match = _WINDOW.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{_WINDOW_MESSAGE}, not {text!r}")
    days, hours, minutes = (int(group[:-1]) if group else 0 for group in match.groups())
    window = timedelta(days=days, hours=hours, minutes=minutes)
    if not MIN_WINDOW <= window <= MAX_WINDOW or (days and (hours >= 24 or minutes >= 60)):
        raise ValueError(f"{_WINDOW_MESSAGE}, not {text!r}")
    return window


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

    model_config = ConfigDict(json_schema_extra=immutable_or_absent("maxFailedRows"))

    model: ModelSpec = Field(description="model that answers. Immutable.", json_schema_extra=immutable("model"))
    input: InputSpec = Field(description="input of the job. Immutable.", json_schema_extra=immutable("input"))
    output: OutputSpec = Field(description="output of the job. Immutable.", json_schema_extra=immutable("output"))
    completion_window: str = Field(
        default="8h",
        min_length=2,
        max_length=16,
        pattern=WINDOW_PATTERN,
        description="completionWindow from creation within which all rows are answered, 5m to 14d, such as 4h.",
        json_schema_extra=rules((_WINDOW_RULE, _WINDOW_MESSAGE)),
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
        PrinterColumn("ETA", "string", ".status.forecast.finishTime", "When the rows left are answered at this rate."),
        PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
        PrinterColumn("Reason", "string", _condition("Succeeded", "reason"), "How the job ended.", 1),
        PrinterColumn("Window", "string", ".spec.completionWindow", "Time within which all rows are answered.", 1),
        PrinterColumn("In-Window", "string", ".status.forecast.meetsWindow", "Whether the forecast is within it.", 1),
        PrinterColumn("Age-Ratio", "string", ".status.queue.ageRatio", "Age of the oldest row by the window.", 1),
        PrinterColumn("Desired", "integer", ".status.workers.desired", "Worker pods wanted.", 1),
        PrinterColumn("Input", "string", ".spec.input.uri", "The file of requests.", 1),
        PrinterColumn("Output", "string", ".spec.output.uri", "The folder of results.", 1),
        PrinterColumn("Finished", "date", ".status.completionTime", "Time since the end.", 1),
    ),
)
