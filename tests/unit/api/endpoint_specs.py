"""Specs of a RealtimeEndpoint, good and bad: one table for the types (pydantic) and for the CRD's rules.

What it shares with a job (pod template, quantities, model source) has its cases in `api_specs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api_specs import ABSENT, Case, Spec, changed

SPEC: Spec = {
    "model": {"name": "smollm2", "source": "HuggingFaceTB/SmolLM2-135M-Instruct"},
}
"""The smallest spec that is of use."""


@dataclass(frozen=True)
class EndpointCase(Case):
    """As `Case`, a change of the smallest endpoint."""

    @property
    def spec(self) -> Spec:
        return changed(SPEC, self.path, self.value)


def case(name: str, path: str, value: Any, field: str = "", message: str = "") -> EndpointCase:
    return EndpointCase(name, path, value, field, message)


BOUNDS = "replicas.min must not be above replicas.max"
BATCHING = "model.engineArgs: an endpoint sets maxNumSeqs as batching.maxSequences"

BAD: tuple[EndpointCase, ...] = (
    case("a model is missing", "model", ABSENT),
    case("a source in an object store", "model.source", "s3://models/a", "", "model.source must be a path"),
    case(
        "an adapter of the model's name",
        "model.adapters",
        [{"name": "smollm2", "source": "org/a"}],
        "model",
        "model.adapters: an adapter must have another name than the model",
    ),
    case("sequences set twice", "model.engineArgs", {"maxNumSeqs": 8}, "model", BATCHING),
    case("batched tokens set twice", "model.engineArgs", {"maxNumBatchedTokens": 8}, "model", BATCHING),
    case("more replicas at least than at most", "replicas", {"min": 3, "max": 2}, "", BOUNDS),
    case("more replicas at least than by default at most", "replicas", {"min": 2}, "", BOUNDS),
    case("no replica at all", "replicas.max", 0),
    case("less than no replica", "replicas.min", -1),
    case("too many replicas", "replicas.max", 1001),
    case("no queue depth", "scaling.targetQueueDepth", 0),
    case("a queue age of nothing", "scaling.targetQueueAgeMilliseconds", 99),
    case("a queue age in words", "scaling.targetQueueAgeMilliseconds", "2s"),
    case("no replica may start", "scaling.scaleUp.maxStarting", 0),
    case("a step of nothing", "scaling.scaleDown.maxStep", 0),
    case("a stabilization of more than an hour", "scaling.scaleDown.stabilizationSeconds", 3601),
    case("zero after more than a day", "scaling.scaleToZeroAfterSeconds", 86_401),
    case("no sequences", "batching.maxSequences", 0),
    case("no tokens", "batching.maxBatchedTokens", 0),
    case("another scheduling", "batching.scheduling", "Random"),
    case("no request may wait", "limits.queueBound", 0),
    case("no time for a request", "limits.requestTimeoutSeconds", 0),
    case("hours for a request", "limits.requestTimeoutSeconds", 7201),
    case("keys without a Secret", "auth", {}, "auth.secretRef"),
    case("keys in the spec", "auth", {"keys": ["sk-1"], "secretRef": {"name": "keys"}}, "auth.keys"),
    case("a Secret with an odd name", "auth.secretRef.name", "My_Keys"),
    case("Redis without a port", "gcsFaultTolerance.redisAddress", "redis"),
    case("Redis with its password", "gcsFaultTolerance.redisAddress", "redis://:secret@redis:6379"),
    case("a deadline of seconds", "upgrade.progressDeadlineSeconds", 29),
    case("an image with a blank", "image", "registry/image :1"),
    case("an autoscaling config of Serve", "autoscalingConfig", {"max_replicas": 3}),
)

UNKNOWN_FIELDS = frozenset({"keys in the spec", "an autoscaling config of Serve"})
"""Cases that an API server refuses under strict field validation only."""

GOOD: tuple[EndpointCase, ...] = (
    case("the smallest spec", "replicas", ABSENT),
    case("down to zero", "replicas", {"min": 0, "max": 4}),
    case("a fixed size", "replicas", {"min": 4, "max": 4}),
    case("other engine arguments", "model.engineArgs", {"dtype": "float32", "maxModelLen": 2048}),
    case("an adapter", "model.adapters", [{"name": "support", "source": "/adapters/support"}]),
    case("a bound on starting replicas", "scaling.scaleUp.maxStarting", 2),
    case("small steps down", "scaling.scaleDown", {"stabilizationSeconds": 0, "maxStep": 1}),
    case("zero at once", "scaling.scaleToZeroAfterSeconds", 0),
    case("first come, first served", "batching", {"maxSequences": 8, "scheduling": "FirstComeFirstServed"}),
    case("keys", "auth", {"secretRef": {"name": "keys.team-a"}}),
    case("Redis", "gcsFaultTolerance", {"redisAddress": "redis.redis.svc:6379"}),
    case(
        "Redis with TLS and a password",
        "gcsFaultTolerance",
        {"redisAddress": "rediss://redis:6380", "passwordSecretRef": {"name": "redis", "key": "password"}},
    ),
    case("a GPU", "resources", {"gpu": 1, "cpu": 4, "memory": "16Gi"}),
)
