"""The children of an endpoint: a RayCluster and token Secret per revision, and one Service. Pure builders.

Follows what was measured of KubeRay 1.7 and Ray 2.60: our own Service over head and workers, a worker being ready when
its ingress replica is; a drain that a pod's grace outlasts; authentication always said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill_api import labels
from tidemill_api.endpoint_contract import (
    API_KEYS_FOLDER,
    ENGINE_METRICS_PORT,
    ENGINE_RESOURCE,
    HTTP_DOOR,
    HTTP_PORT,
    INGRESS_METRICS_PORT,
    INGRESS_RESOURCE,
)
from tidemill_api.v1alpha1.realtime_endpoint import KIND
from tidemill_operator.core.queueing import Queueing
from tidemill_operator.manifests.names import secret_name
from tidemill_operator.manifests.pods import (
    PodRole,
    engine_threads,
    head_resources,
    pod_template,
    worker_resources,
    worker_scheduling,
)
from tidemill_operator.manifests.quantities import quantity
from tidemill_operator.manifests.ray_cluster import (
    RAY_API,
    WORKER_GROUP,
    child_metadata,
    cluster_metadata,
    object_store,
    ray_resources,
    token_of,
)
from tidemill_operator.manifests.revisions import revision_cluster_name
from tidemill_operator.manifests.serve_config import endpoint_config

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec

MIGRATION_SECONDS = 120
"""How long a replica on a node that is drained by others may wait for its replacement: Serve stops it at the drain's
deadline less its own grace, be the replacement up or not."""

GRACE_MARGIN_SECONDS = 30
"""Longer than the drain, or the kubelet kills Ray while it drains."""

ENDPOINT_ENV = {
    "RAY_metrics_report_interval_ms": "1000",
    # Direct ingress, gRPC between replicas, user code on the main loop: 0007-serve-application.md has the figures.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(HTTP_PORT),
    "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(HTTP_PORT + 1),  # not itself a port to take: it is one port
    "RAY_SERVE_PORT_QUARANTINE_S": "0",  # and it is free again for the next ingress replica of the pod
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": HTTP_DOOR,  # no client gives orders to Serve
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "10",  # Serve waits 30 s for balancers; a Service needs seconds
    "RAY_SERVE_SHUTDOWN_TIER_TIMEOUT_S": "15",  # told to end, it lets go of the engines while the head is still there
}
"""What Ray on head and workers reads when its processes start."""

HEAD_DRAIN_SECONDS = 30
"""A head that is told to go finishes what passes through it, and its GCS is there for the workers meanwhile, no longer
than this: Serve's controller stays on it until its node ends, but where Serve is told to end (`farewell.py`)."""

WITHOUT_NODE_HELPERS = {"include-log-monitor": "false"}
"""Ray's processes on each node that nothing here needs, each a second of CPU and 100 MB at the start: the log monitor
brings the workers' output to a driver, of which there is none."""

WITHOUT_HEAD_HELPERS = {"no-monitor": "true"}
"""The same on the head: Ray's autoscaler."""

PORTS = {"metrics": 8080, "serve": HTTP_PORT, "ingress-figures": INGRESS_METRICS_PORT}
HEAD_PORTS = {"gcs": 6379, "dashboard": 8265, "client": 10001} | PORTS
WORKER_PORTS = PORTS | {"engine-figures": ENGINE_METRICS_PORT}
"""Names of at most 15 characters."""

INGRESS_READINESS = {
    "httpGet": {"path": "/-/healthz", "port": HTTP_PORT},
    "periodSeconds": 1,
    "timeoutSeconds": 5,
    "failureThreshold": 3,
}
"""A pod gets requests while its own ingress replica takes them; not before, and not while it drains. The head too: Ray
finds it by a Service that does not ask whether it is ready, and so does the operator by its address."""

KEYS_VOLUME = "tidemill-api-keys"
SERVICE_PORT = 80


@dataclass(frozen=True)
class RevisionOrder:
    """What the children of one revision are made from. The images serve endpoints that name none."""

    namespace: str
    owner: str
    owner_uid: str
    revision: str
    spec: RealtimeEndpointSpec
    ray_version: str
    image_cpu: str
    image_gpu: str
    queueing: Queueing = field(default_factory=Queueing)
    priority_class: str = ""
    made_by: str = ""

    @property
    def name(self) -> str:
        """The RayCluster's name."""
        return revision_cluster_name(self.owner, self.owner_uid, self.revision)

    @property
    def image(self) -> str:
        """The image of head and workers: they must run the same Ray and Python."""
        return self.spec.image or (self.image_gpu if self.spec.resources.gpu else self.image_cpu)

    @property
    def drain_seconds(self) -> int:
        """How long a replica that is told to go may finish its requests."""
        return self.spec.limits.request_timeout_seconds

    def labels(self, role: str = "") -> dict[str, str]:
        """Our labels on a child of this revision, with the pod's role where it is a pod."""
        ours = {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.ENDPOINT_NAME: self.owner}
        return ours | {labels.REVISION: self.revision} | ({labels.ROLE: role} if role else {})


def revision_cluster(order: RevisionOrder, workers: int) -> dict[str, Any]:
    """The RayCluster of a revision: a head without CPUs for tasks, one worker group of so many pods."""
    spec: dict[str, Any] = {
        "rayVersion": order.ray_version,
        "enableInTreeAutoscaling": False,  # it would be a second writer of `replicas`
        "authOptions": {"mode": "token", "secretName": secret_name(order.name)},
        "headGroupSpec": {
            "rayStartParams": {
                "num-cpus": "0",
                "num-gpus": "0",
                **WITHOUT_HEAD_HELPERS,
                **WITHOUT_NODE_HELPERS,
                "dashboard-host": "0.0.0.0",  # noqa: S104 - inside the pod's own network, behind a token
                "object-store-memory": object_store(order.spec.head.memory),
                "resources": ray_resources({INGRESS_RESOURCE: 1}),
            },
            "template": _head_template(order),
        },
        "workerGroupSpecs": [_worker_group(order, workers)],
    }
    if (tolerance := order.spec.gcs_fault_tolerance) is not None:
        spec["gcsFaultToleranceOptions"] = {"redisAddress": tolerance.redis_address}
        if (password := tolerance.password_secret_ref) is not None:
            reference = {"valueFrom": {"secretKeyRef": {"name": password.name, "key": password.key}}}
            spec["gcsFaultToleranceOptions"]["redisPassword"] = reference
    metadata = _metadata(order, order.name)
    metadata["annotations"] = {labels.SERVE_ARGUMENTS: endpoint_config(order).model_dump_json()}
    made = cluster_metadata(metadata, order.queueing, order.made_by)
    return {"apiVersion": RAY_API, "kind": "RayCluster", "metadata": made, "spec": spec}


def revision_token(order: RevisionOrder, token: str) -> dict[str, Any]:
    """The Secret with the token that the revision's Ray asks for."""
    return token_of(_metadata(order, secret_name(order.name)), token)


def service(order: RevisionOrder) -> dict[str, Any]:
    """The Service of the endpoint, leading to this revision's head and workers: the head alone can hold requests."""
    metadata = _metadata(order, order.owner)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": service_selector(order.owner, order.revision),
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "serve", "protocol": "TCP"}],
        },
    }


def service_selector(owner: str, revision: str) -> dict[str, str]:
    """The pods that the Service leads to."""
    return {labels.ENDPOINT_NAME: owner, labels.REVISION: revision}


def _metadata(order: RevisionOrder, name: str) -> dict[str, Any]:
    return child_metadata(order, KIND, name, order.labels())


def _head_template(order: RevisionOrder) -> dict[str, Any]:
    drain = min(order.drain_seconds, HEAD_DRAIN_SECONDS)
    env = ENDPOINT_ENV | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain)}
    role = PodRole(
        name="head",
        resources=head_resources(order.spec),
        ports=HEAD_PORTS,
        env=env,
        scheduling={},
        grace_seconds=drain + GRACE_MARGIN_SECONDS,
        readiness=dict(INGRESS_READINESS),
        volumes=_key_volumes(order),
        mounts=_key_mounts(order),
    )
    template = pod_template(order.spec, order.labels("head"), order.image, role, order.priority_class)
    template["spec"]["restartPolicy"] = "Always"
    return template


def _worker_group(order: RevisionOrder, workers: int) -> dict[str, Any]:
    spec = order.spec
    drain = order.drain_seconds + MIGRATION_SECONDS
    role = PodRole(
        name="worker",
        resources=worker_resources(spec),
        ports=WORKER_PORTS,
        env=ENDPOINT_ENV | engine_threads(spec) | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain)},
        scheduling=worker_scheduling(spec),
        grace_seconds=drain + GRACE_MARGIN_SECONDS,
        readiness=dict(INGRESS_READINESS),
        volumes=_key_volumes(order),
        mounts=_key_mounts(order),
    )
    return {
        "groupName": WORKER_GROUP,
        "replicas": workers,
        "minReplicas": 0,
        "maxReplicas": max(spec.replicas.max, workers),
        "rayStartParams": {
            "num-cpus": str(max(int(quantity(spec.resources.cpu)), 1)),
            **WITHOUT_NODE_HELPERS,
            "num-gpus": str(spec.resources.gpu),  # KubeRay counts devices named nvidia.com/gpu only
            "object-store-memory": object_store(spec.resources.memory),
            "resources": ray_resources({ENGINE_RESOURCE: 1, INGRESS_RESOURCE: 1}),
        },
        "template": pod_template(spec, order.labels("worker"), order.image, role, order.priority_class),
    }


def _key_volumes(order: RevisionOrder) -> tuple[dict[str, Any], ...]:
    """The API keys. Not optional: a Secret that is missing keeps the pods from starting rather than the door open."""
    auth = order.spec.auth
    if auth is None:
        return ()
    return ({"name": KEYS_VOLUME, "secret": {"secretName": auth.secret_ref.name, "defaultMode": 0o440}},)


def _key_mounts(order: RevisionOrder) -> tuple[dict[str, Any], ...]:
    if order.spec.auth is None:
        return ()
    return ({"name": KEYS_VOLUME, "mountPath": API_KEYS_FOLDER, "readOnly": True},)
