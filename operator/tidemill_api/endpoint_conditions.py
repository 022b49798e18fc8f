"""Condition types and reasons of a RealtimeEndpoint: API, as `conditions.py` is for jobs; never renamed, only added.

`Available` says whether requests are answered now, be it by a held request that wakes a replica; `Progressing` what is
being done or awaited; `Ready` sums both up: what the spec asks for is what serves. A word that a job has too means the
same here.
"""

from enum import StrEnum


class EndpointCondition(StrEnum):
    """The types of the conditions of a RealtimeEndpoint."""

    PROGRESSING = "Progressing"
    AVAILABLE = "Available"
    READY = "Ready"


class EndpointReason(StrEnum):
    """Why a condition has its status. Grouped by the condition that carries it first."""

    # Progressing=True: what is being done
    CLUSTER_STARTING = "ClusterStarting"
    DEPLOYING = "Deploying"
    REPLICAS_STARTING = "ReplicasStarting"
    SCALING_DOWN = "ScalingDown"
    ROLLING_OUT = "RollingOut"
    DRAINING_OLD_REVISION = "DrainingOldRevision"
    # Progressing=False: nothing to do
    SETTLED = "Settled"
    REVISION_LATE = "RevisionLate"
    # Progressing=False: what is awaited; heals by itself when the cause is mended
    INVALID_SPEC = "InvalidSpec"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    CLUSTER_REJECTED = "ClusterRejected"
    KUBERAY_MISSING = "KubeRayMissing"
    CHANGE_REFUSED = "ChangeRefused"  # the API server does not let the operator scale or lead the Service
    SERVICE_NAME_TAKEN = "ServiceNameTaken"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_NOT_LOADABLE = "ModelNotLoadable"
    ENGINE_ARGUMENTS_REFUSED = "EngineArgumentsRefused"
    REPLICAS_FAILING = "ReplicasFailing"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    PODS_FAILING = "PodsFailing"
    # Progressing=False: Kueue has not admitted the RayCluster (again): its queue waits for quota
    AWAITING_ADMISSION = "AwaitingAdmission"
    # Progressing=Unknown: the head is there, its Ray does not answer
    RAY_UNREACHABLE = "RayUnreachable"

    # Available=True
    REPLICAS_RUNNING = "ReplicasRunning"
    SCALED_TO_ZERO = "ScaledToZero"
    # Available=False
    NO_REPLICA_RUNNING = "NoReplicaRunning"
    INGRESS_NOT_READY = "IngressNotReady"

    # Ready=True; Ready=False carries the reason of what is missing
    SERVING = "Serving"


STARTUP_PROBLEMS: frozenset[EndpointReason] = frozenset(
    {EndpointReason.MODEL_NOT_FOUND, EndpointReason.MODEL_NOT_LOADABLE, EndpointReason.ENGINE_ARGUMENTS_REFUSED}
)
"""What an engine may say of itself (`endpoint_contract.EngineProblem`)."""
