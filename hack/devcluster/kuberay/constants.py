"""KubeRay's names: label and annotation keys, ports, environment variables and event reasons.

Values are KubeRay 1.7.0's, because users, dashboards and Ray itself look for them.
"""

from typing import Any, Final

Manifest = dict[str, Any]
"""A Kubernetes object, or a part of one, as decoded JSON."""

KUBERAY_VERSION: Final = "v1.7.0"
"""The release whose behaviour this package reproduces; written on head pods as KubeRay does."""

CONTROLLER_NAME: Final = "raycluster-controller"
"""The reporting controller in events."""

KUBERAY_CONTROLLER: Final = "ray.io/kuberay-operator"
"""The one `spec.managedBy` value, besides none, that asks for this controller."""

LABEL_CLUSTER: Final = "ray.io/cluster"
LABEL_NODE_TYPE: Final = "ray.io/node-type"
LABEL_GROUP: Final = "ray.io/group"
LABEL_IS_RAY_NODE: Final = "ray.io/is-ray-node"
LABEL_IDENTIFIER: Final = "ray.io/identifier"
LABEL_REPLICA_INDEX: Final = "ray.io/worker-group-replica-index"
LABEL_ORIGIN_KIND: Final = "ray.io/originated-from-crd"
LABEL_ORIGIN_NAME: Final = "ray.io/originated-from-cr-name"
LABEL_SERVE: Final = "ray.io/serve"
LABEL_APPLICATION: Final = "app.kubernetes.io/name"
LABEL_CREATED_BY: Final = "app.kubernetes.io/created-by"

ANNOTATION_RECREATE_HASH: Final = "ray.io/upgrade-strategy-recreate-hash"
ANNOTATION_VERSION: Final = "ray.io/kuberay-version"
ANNOTATION_OVERWRITE_COMMAND: Final = "ray.io/overwrite-container-cmd"
ANNOTATION_FAULT_TOLERANCE: Final = "ray.io/ft-enabled"
ANNOTATION_EXTERNAL_STORAGE: Final = "ray.io/external-storage-namespace"
ANNOTATION_SERVE_SERVICE: Final = "ray.io/enable-serve-service"
ANNOTATION_KEEP_HEAD_LOST: Final = "ray.io/disable-provisioned-head-restart"

HEAD: Final = "head"
WORKER: Final = "worker"
HEAD_GROUP: Final = "headgroup"

GCS_PORT: Final = 6379
METRICS_PORT: Final = 8080
DASHBOARD_AGENT_PORT: Final = 52365
DASHBOARD_PORT: Final = 8265
DEFAULT_HEAD_PORTS: Final = {
    "client": 10001,
    "dashboard": DASHBOARD_PORT,
    "gcs-server": GCS_PORT,
    "metrics": METRICS_PORT,
    "serve": 8000,
}
"""What the head Service offers when the head container names no port of its own."""

MAX_NAME_LENGTH: Final = 53
"""Longest RayCluster name: `<name>-serve-svc` must fit into 63 characters."""

MAX_INT32: Final = 2**31 - 1

TOKEN_KEY: Final = "auth_token"  # noqa: S105 - the key inside the Secret, not a token

PROVISIONED: Final = "RayClusterProvisioned"
SUSPENDING: Final = "RayClusterSuspending"
SUSPENDED: Final = "RayClusterSuspended"
"""Condition types that more than one module asks for."""
