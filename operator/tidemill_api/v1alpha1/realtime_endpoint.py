"""RealtimeEndpoint: an OpenAI-compatible URL before replicas of one model, scaled on queue depth and queue age.

A rule stands beside its field, once for the API server (CEL) and once for pydantic. Everything may change while the
endpoint serves: what a running engine cannot take on becomes a new revision beside the old one.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from tidemill_api.custom_resource import CustomResource, PrinterColumn, Rule, ScaleSubresource
from tidemill_api.markers import rule_about, rules
from tidemill_api.v1alpha1.batch_inference_job import HeadResources, WorkerResources
from tidemill_api.v1alpha1.common import DNS_SUBDOMAIN, ApiModel, ModelSpec
from tidemill_api.v1alpha1.pod_template import KeyRef, PodTemplate
from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus
from tidemill_api.v1alpha1.reserved import ENDPOINT_TEMPLATE_RULES, under_a_mount

KIND = "RealtimeEndpoint"
PLURAL = "realtimeendpoints"

MAX_REPLICAS = 1000

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""What a Service may be called (DNS-1035), beside at most 63 characters."""

NAME_MESSAGE = "metadata.name becomes the name of the Service: a letter, then at most 62 of a-z, 0-9 and -"


class ReplicaBounds(ApiModel):
    """How many replicas may run, one engine on one worker pod each."""

    min: int = Field(
        default=1, ge=0, le=MAX_REPLICAS, description="min replicas, 0 to 1000; 0 lets an idle endpoint cost no worker."
    )
    max: int = Field(default=1, ge=1, le=MAX_REPLICAS, description="max replicas, 1 to 1000, at least min.")

    @model_validator(mode="after")
    def _ordered(self) -> ReplicaBounds:
        if self.min > self.max:
            raise ValueError(f"{_BOUNDS_MESSAGE}, but {self.min} > {self.max}")
        return self


_BOUNDS_MESSAGE = "replicas.min must not be above replicas.max"


class ScaleUpSpec(ApiModel):
    """How the endpoint grows."""

    max_starting: int | None = Field(
        default=None,
        ge=1,
        le=MAX_REPLICAS,
        description="maxStarting replicas at a time when the load grows, 1 to 1000, for storage that many loading"
        " models would choke; one that does not answer within upgrade.progressDeadlineSeconds counts no more. A new"
        " revision, a cluster that is rebuilt and a raised replicas.min bring up all at once. Default: no bound.",
    )


class ScaleDownSpec(ApiModel):
    """How the endpoint shrinks."""

    stabilization_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="stabilizationSeconds for which fewer replicas have to be enough before any goes, 0 to 3600.",
    )
    max_step: int | None = Field(
        default=None,
        ge=1,
        le=MAX_REPLICAS,
        description="maxStep: replicas that go at most at a time, 1 to 1000; the stabilization begins anew after each"
        " step. Default: no bound.",
    )


class ScalingSpec(ApiModel):
    """When the endpoint grows and shrinks between replicas.min and replicas.max."""

    target_queue_depth: int = Field(
        default=32,
        ge=1,
        le=100_000,
        description="targetQueueDepth in requests, waiting and running, that one replica is to have, 1 to 100000.",
    )
    target_queue_age_milliseconds: int = Field(
        default=2000,
        ge=100,
        le=600_000,
        description="targetQueueAgeMilliseconds that a request may wait for its first token, 100 to 600000; above it"
        " the endpoint grows though its depth is met, to at most a replica for each request.",
    )
    scale_up: ScaleUpSpec = Field(default_factory=ScaleUpSpec, description="scaleUp behaviour.")
    scale_down: ScaleDownSpec = Field(default_factory=ScaleDownSpec, description="scaleDown behaviour.")
    scale_to_zero_after_seconds: int = Field(
        default=600,
        ge=0,
        le=86_400,
        description="scaleToZeroAfterSeconds without any request, 0 to 86400; counts where replicas.min is 0.",
    )


class BatchingSpec(ApiModel):
    """How much one engine works on at once."""

    max_sequences: int = Field(
        default=128, ge=1, le=4096, description="maxSequences that one engine decodes at once, 1 to 4096."
    )
    max_batched_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="maxBatchedTokens that one engine step handles, 1 to 1048576. Default: vLLM's.",
    )
    scheduling: Literal["Priority", "FirstComeFirstServed"] = Field(
        default="Priority",
        description="scheduling of requests in an engine: Priority (a request's own field priority, lower first, then"
        " by arrival) or FirstComeFirstServed.",
    )


class LimitsSpec(ApiModel):
    """What the endpoint refuses."""

    queue_bound: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="queueBound: requests that may wait for their first token in the whole endpoint, 1 to 1000000;"
        " more are refused at once with 429 and Retry-After.",
    )
    request_timeout_seconds: int = Field(
        default=600,
        ge=1,
        le=7200,
        description="requestTimeoutSeconds from arrival to the last byte, 1 to 7200; the start of a replica counts. As"
        " long, a replica that is told to go may finish its requests.",
    )


class SecretRef(ApiModel):
    """A Secret in the endpoint's namespace."""

    name: str = Field(
        min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="name of the Secret in the same namespace."
    )


class AuthSpec(ApiModel):
    """Who may ask."""

    secret_ref: SecretRef = Field(
        description="secretRef to the API keys: each entry of the Secret is one client's key; changes count in about a"
        " minute, without a restart.",
    )


_REDIS = r"^(rediss?://)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?:[0-9]{1,5}$"


class GcsFaultToleranceSpec(ApiModel):
    """Where Ray keeps what its head knows, so that traffic goes on while the head is away."""

    redis_address: str = Field(
        min_length=3,
        max_length=512,
        pattern=_REDIS,
        description="redisAddress as host:port, redis://host:port or rediss://host:port (TLS).",
    )
    password_secret_ref: KeyRef | None = Field(
        default=None, description="passwordSecretRef to the key of a Secret that holds the Redis password."
    )


class UpgradeSpec(ApiModel):
    """How a changed spec comes into force: as a new revision beside the old one, which serves until that is warm."""

    progress_deadline_seconds: int = Field(
        default=1800,
        ge=30,
        le=86_400,
        description="progressDeadlineSeconds after which a new revision that is not ready is reported and its workers"
        " are given back, 30 to 86400; the old one serves on, and the new one is tried again with back-off. An engine"
        " that has not started so long after it began, as this stood when the revision was made, is ended and"
        " reported.",
    )


_ENGINE_BATCHING_MESSAGE = (
    "model.engineArgs: an endpoint sets maxNumSeqs as batching.maxSequences and maxNumBatchedTokens as"
    " batching.maxBatchedTokens"
)
_ENGINE_BATCHING_RULE = (
    "!has(self.engineArgs) || (!has(self.engineArgs.maxNumSeqs) && !has(self.engineArgs.maxNumBatchedTokens))"
)


class RealtimeEndpointSpec(ApiModel):
    """What the user asks for."""

    model_config = ConfigDict(json_schema_extra=rule_about(*under_a_mount("model.source")))

    model: ModelSpec = Field(
        description="model that answers, by the name that requests ask for.",
        json_schema_extra=rules((_ENGINE_BATCHING_RULE, _ENGINE_BATCHING_MESSAGE)),
    )
    replicas: ReplicaBounds = Field(
        default_factory=ReplicaBounds,
        description="replicas: how many may run.",
        json_schema_extra=rules(("self.min <= self.max", _BOUNDS_MESSAGE)),
    )
    scaling: ScalingSpec = Field(default_factory=ScalingSpec, description="scaling between the bounds.")
    batching: BatchingSpec = Field(default_factory=BatchingSpec, description="batching in one engine.")
    limits: LimitsSpec = Field(default_factory=LimitsSpec, description="limits beyond which requests are refused.")
    resources: WorkerResources = Field(default_factory=WorkerResources, description="resources of a worker.")
    head: HeadResources = Field(default_factory=HeadResources, description="head pod's resources.")
    image: str = Field(
        default="",
        max_length=1024,
        pattern=r"^\S*$",
        description="image of the pods. Default: the operator's setting for CPU or GPU when the revision was made; a"
        " changed annotation tidemill.dev/restarted-at has a new one made.",
    )
    auth: AuthSpec | None = Field(default=None, description="auth of clients. Default: whoever reaches it may ask.")
    gcs_fault_tolerance: GcsFaultToleranceSpec | None = Field(
        default=None,
        description="gcsFaultTolerance of the head. Default: none, and an outage of the head of more than a minute ends"
        " all replicas.",
    )
    upgrade: UpgradeSpec = Field(default_factory=UpgradeSpec, description="upgrade to a changed spec.")
    template: PodTemplate = Field(
        default_factory=PodTemplate,
        description="template: settings of the pods.",
        json_schema_extra=rules(*ENDPOINT_TEMPLATE_RULES),
    )

    @model_validator(mode="after")
    def _batching_stands_once(self) -> RealtimeEndpointSpec:
        arguments = self.model.engine_args
        if arguments.max_num_seqs is not None or arguments.max_num_batched_tokens is not None:
            raise ValueError(_ENGINE_BATCHING_MESSAGE)
        return self


def valid_name(name: str) -> bool:
    """Whether an endpoint may have this name."""
    return len(name) <= 63 and re.fullmatch(NAME_PATTERN, name) is not None


NAMES_A_SERVICE = Rule(
    rule=f"self.metadata.name.matches('{NAME_PATTERN}') && size(self.metadata.name) <= 63",
    message=NAME_MESSAGE,
    field_path=".metadata.name",
)


def _condition(condition: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{condition}")].{field}'


REALTIME_ENDPOINT = CustomResource(
    kind=KIND,
    plural=PLURAL,
    short_names=("rte",),
    description="RealtimeEndpoint answers OpenAI-compatible requests with replicas of a model, as many as are needed.",
    spec=RealtimeEndpointSpec,
    status=RealtimeEndpointStatus,
    rules=(NAMES_A_SERVICE,),
    scale=ScaleSubresource(".spec.replicas.min", ".status.replicas", ".status.selector"),
    columns=(
        PrinterColumn("Model", "string", ".spec.model.name", "The model that answers."),
        PrinterColumn("Ready", "string", _condition("Ready", "status"), "Whether what the spec asks for serves."),
        PrinterColumn("Status", "string", _condition("Progressing", "reason"), "What is being done or awaited."),
        PrinterColumn("Replicas", "integer", ".status.replicas", "Replicas wanted."),
        PrinterColumn("Running", "integer", ".status.readyReplicas", "Replicas that answer."),
        PrinterColumn("Queue", "integer", ".status.queue.depth", "Requests waiting and running."),
        PrinterColumn("Health", "string", ".status.queue.health", "Age of the oldest waiting request by the target."),
        PrinterColumn("URL", "string", ".status.url", "Base URL for OpenAI clients."),
        PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
        PrinterColumn("Available", "string", _condition("Available", "status"), "Whether requests are answered.", 1),
        PrinterColumn("Age-Ratio", "string", ".status.queue.ageRatio", "Oldest waiting age by the target age.", 1),
        PrinterColumn("Min", "integer", ".spec.replicas.min", "Least replicas.", 1),
        PrinterColumn("Max", "integer", ".spec.replicas.max", "Most replicas.", 1),
        PrinterColumn("Revision", "string", ".status.revision.serving", "The revision that serves.", 1),
    ),
)
