"""What the operator tells the Serve application of a RealtimeEndpoint and what the application tells the operator.

The operator PUTs one Serve application per revision's RayCluster: `IMPORT_PATH` builds it from `EndpointConfig` (the
application's `args`: a change is a new revision, never a redeploy in place). `IngressSettings` and `EngineSettings` are
the `user_config` of the two deployments: a change calls `reconfigure`, without a restart. The application answers with
Prometheus text on ports of its own, one per process, read by the operator from every pod: a figure is as old as the
answer, and a process that is gone has no figures. Neither side imports the other.

Who counts what, so that sums count nothing twice:
- A request belongs to the one ingress replica that stamped it on arrival, until its last byte is written or its client
  is gone. The `tidemill_endpoint_*` gauges count requests there, wherever they wait. Depth of the endpoint = sum of
  `waiting` over all ingress replicas; its oldest age = the maximum of `oldest_waiting_seconds`.
- The `tidemill_engine_*` gauges count the same requests again, where they are now: for choosing pods, never for sums
  with the first. A request that is waiting and held by no engine is in no engine gauge.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidemill_api.endpoint_conditions import EndpointReason  # noqa: TC001 - pydantic reads it
from tidemill_api.v1alpha1.common import ModelSpec  # noqa: TC001 - pydantic reads it when EndpointConfig is first used

IMPORT_PATH = "tidemill_workloads.serving.application:build"
"""Serve's import_path: `build(config: EndpointConfig) -> Application`. Serve parses `args` by the annotation."""

HTTP_DOOR = "tidemill_workloads.serving.http_door:middlewares"
"""What Serve puts before its own code in each HTTP server: its RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""

APPLICATION = "endpoint"
"""Name of the only Serve application of a revision's cluster."""

ROUTE_PREFIX = "/"

INGRESS_DEPLOYMENT = "Ingress"
"""Authenticates, stamps, bounds, counts, holds. One replica per Ray node: the head's lives at zero workers, the others
live while the head is away. Its replica count is set by the operator: 1 + workers."""

ENGINE_DEPLOYMENT = "Engine"
"""One vLLM engine per replica, one replica per worker pod. Its replica count is set by the operator."""

INGRESS_RESOURCE = "tidemill_ingress"
"""Custom Ray resource: head and worker pods offer 1 each, an ingress replica takes 1, so each pod has at most one and
a number of replicas equal to that of nodes puts one on the head."""

ENGINE_RESOURCE = "tidemill_engine"
"""Custom Ray resource: each worker pod offers 1, an engine replica takes 1. The same as batch's (`job_contract`)."""

HTTP_PORT = 8000
"""Where an ingress replica listens on its pod (Serve's direct ingress); `/-/healthz` there is a worker's readiness."""

PROXY_PORT = 8001
"""Where Serve's own proxy listens on the head, beside the ingress replica. Nobody asks there."""

INGRESS_METRICS_PORT = 8090
"""TCP port where an ingress replica serves Prometheus text at /metrics, on its pod's address."""

ENGINE_METRICS_PORT = 8091
"""TCP port where an engine replica serves Prometheus text at /metrics, on its pod's address, from before it loads."""

API_KEYS_FOLDER = "/etc/tidemill/api-keys"
"""Where the Secret of `spec.auth.secretRef` is mounted in head and workers.

Each file is one entry of the Secret: its name is the client's name (logs and metrics may show it), its content one API
key, white space at both ends left out. Names that begin with a dot are the kubelet's own (`..data` is swapped when the
Secret changes). With authentication on, an empty or missing folder lets nobody in.
"""

ENGINE_VARIABLE = "TIDEMILL_ENGINE"
"""Environment variable `module:factory` that gives tests another engine than vLLM. The same as batch's."""

# Gauges of an ingress replica. Labels: `endpoint` (namespace/name), `revision`, `replica` (Serve's replica id).
METRIC_WAITING = "tidemill_endpoint_requests_waiting"  # arrived, admitted, and no first token yet; held ones included
METRIC_HELD = "tidemill_endpoint_requests_held"  # those of the waiting that no engine replica has taken yet
METRIC_RUNNING = "tidemill_endpoint_requests_running"  # first token seen, last one not
METRIC_OLDEST_WAITING = "tidemill_endpoint_oldest_waiting_seconds"  # age at this answer of the oldest waiting; else 0
METRIC_QUEUE_BOUND = "tidemill_endpoint_queue_bound"  # the bound in force here (of the whole endpoint)
# Counters of an ingress replica, with the same labels.
METRIC_REQUESTS = "tidemill_endpoint_requests_total"  # ended; label `code`, the HTTP status, 499 for a client that left
METRIC_REJECTED = "tidemill_endpoint_rejected_total"  # refused with 429 by the ingress, in METRIC_REQUESTS too
METRIC_PROMPT_TOKENS = "tidemill_endpoint_prompt_tokens_total"
METRIC_COMPLETION_TOKENS = "tidemill_endpoint_completion_tokens_total"
# Histograms of an ingress replica, with the same labels, in seconds.
METRIC_FIRST_TOKEN_SECONDS = "tidemill_endpoint_first_token_seconds"  # noqa: S105 - arrival to first token
METRIC_REQUEST_SECONDS = "tidemill_endpoint_request_seconds"  # arrival to end

# Gauges of an engine replica. Labels: `endpoint`, `revision`, `replica`.
METRIC_ENGINE_READY = "tidemill_engine_ready"  # 1 once the model is loaded and warm, 0 while it loads
METRIC_ENGINE_WAITING = "tidemill_engine_requests_waiting"  # taken by this engine, no first token yet
METRIC_ENGINE_RUNNING = "tidemill_engine_requests_running"  # first token out, not ended

CLIENT_GONE = 499
"""The value of the label `code` for a request whose client went away (as nginx counts it)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EndpointConfig(_Frozen):
    """What a revision is: a change of any of it needs a new cluster. Holds no secret."""

    namespace: str
    name: str
    revision: str = Field(description="Hash of what causes a rollout; the label of every metric")
    model: ModelSpec
    gpus_per_replica: int = Field(ge=0, description="Tensor parallel size; 0 runs the engine on the CPU")
    max_sequences: int = Field(ge=1, description="Requests one engine decodes at once (vLLM's max_num_seqs)")
    max_batched_tokens: int | None = Field(
        default=None, ge=1, description="Tokens one engine step handles (vLLM's max_num_batched_tokens)"
    )
    priority_scheduling: bool = Field(
        default=True, description="vLLM's scheduling_policy: priority, where body.priority counts, else fcfs"
    )
    api_keys_folder: str = Field(
        default="", description="Folder of API keys, read again when it changes; empty lets everybody in"
    )
    start_seconds: int = Field(
        default=1800,
        ge=1,
        description="How long an engine may take to start; then it is ended, and told of",
    )
    drain_seconds: int = Field(
        ge=1, description="How long a replica that is told to go may finish its requests (graceful_shutdown_timeout_s)"
    )

    @property
    def endpoint(self) -> str:
        """The value of the label `endpoint`."""
        return f"{self.namespace}/{self.name}"

    @property
    def max_ongoing_requests(self) -> int:
        """Requests that one engine replica holds (Serve's max_ongoing_requests): a full batch and a reserve.

        The reserve keeps the batch full while the next request is on its way. What goes beyond waits before the
        engines, so that a replica that starts later gets its share of what waits already.
        """
        return self.max_sequences + max(self.max_sequences // RESERVE_SHARE, 2)


RESERVE_SHARE = 8
"""A replica holds this part of its batch size more than its batch."""


class IngressSettings(_Frozen):
    """`user_config` of the ingress deployment: what changes without a restart."""

    queue_bound: int = Field(
        ge=1, description="Requests waiting in the whole endpoint above which new ones get 429, shared by all replicas"
    )
    request_timeout_seconds: int = Field(
        ge=1, description="From arrival to the last byte; waiting for a cold start counts. Over it: 408 or a cut stream"
    )
    leaving: bool = Field(
        default=False, description="The Service leads elsewhere: each answer closes its connection, for a new one there"
    )
    attempt: int = Field(default=1, ge=1, description="As `EngineSettings.attempt`: nothing that an ingress acts on")


class EngineSettings(_Frozen):
    """`user_config` of the engine deployment: nothing that an engine has to act on.

    Serve gives up on a deployment of which no replica ever started, after three tries for each replica it is to have,
    and only a changed configuration makes it try again (`DeploymentState.deploy` in Ray 2.60). The operator counts up
    when it tries again. `reconfigure` has to be there and does nothing.
    """

    attempt: int = Field(default=1, ge=1)


PROBLEM_PREFIX = "TIDEMILL_PROBLEM "
"""An engine that cannot start raises an error whose text holds this, followed by the JSON of an `EngineProblem`.

Serve puts the text of the error, a traceback around it, into the `message` of the deployment.
"""


class EngineProblem(_Frozen):
    """Why an engine does not start, for the user who can mend it. Any other error is shown by its last line."""

    reason: EndpointReason = Field(description="ModelNotFound, ModelNotLoadable or EngineArgumentsRefused")
    message: str = Field(description="One sentence: what is wrong, and what to do")

    def to_text(self) -> str:
        """The text of the error to raise: one line."""
        return PROBLEM_PREFIX + self.model_dump_json()

    @classmethod
    def from_text(cls, text: str) -> EngineProblem | None:
        """The last problem in the message of a deployment, or None where there is none that can be read."""
        for line in reversed(text.split("\n")):
            _, marked, rest = line.partition(PROBLEM_PREFIX)
            if marked:
                try:
                    return cls.model_validate_json(rest[: rest.rfind("}") + 1])
                except ValidationError:
                    return None
        return None
