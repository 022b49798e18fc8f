"""GCS fault tolerance by Redis: what KubeRay adds to the pods, and how it cleans Redis up in the end. Pure.

The head keeps its tables in Redis under a name of the cluster's own, so that a new head pod finds them; workers
wait ten minutes for it in place of one. A finalizer holds a deleted RayCluster until its name in Redis is empty.
KubeRay runs that as a Job; nothing runs Jobs here, so it is a Pod with the same command. The embedded storage
(`backend: rocksdb`) is behind a feature gate that is off.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest

FINALIZER = "ray.io/gcs-ft-redis-cleanup-finalizer"
CLEANUP = "redis-cleanup"
"""The node type of the Pod that cleans up."""
TIMEOUT_ANNOTATION = "ray.io/gcs-ft-deletion-timeout"
TIMEOUT_SECONDS = 300
"""A deleted cluster is let go after this, whatever Redis says."""
WORKER_RECONNECT_SECONDS = "600"

_NAMESPACE = "RAY_external_storage_namespace"
_ADDRESS = "RAY_REDIS_ADDRESS"
_CREDENTIALS = (
    ("redisUsername", "REDIS_USERNAME", "redis-username"),
    ("redisPassword", "REDIS_PASSWORD", "redis-password"),
)
"""Field of the options, variable of the head container, parameter of `ray start`."""

_CLEAN_UP = """\
import os, sys
from urllib.parse import urlparse
from ray._private.gcs_utils import cleanup_redis_storage
address = os.environ["RAY_REDIS_ADDRESS"].split(",")[0]
redis = urlparse(address if "://" in address else "redis://" + address)
sys.exit(not cleanup_redis_storage(
    host=redis.hostname,
    port=redis.port,
    username=os.environ.get("REDIS_USERNAME", redis.username),
    password=os.environ.get("REDIS_PASSWORD", redis.password or ""),
    use_ssl=redis.scheme == "rediss",
    storage_namespace=os.environ["RAY_external_storage_namespace"],
))
"""
_CLEANUP_RESOURCES = {"cpu": "200m", "memory": "256Mi"}
_PATIENCE = {"RAY_redis_db_connect_retries": "120", "RAY_redis_db_connect_wait_milliseconds": "500"}


def enabled(cluster: Manifest) -> bool:
    """Whether the spec asks for it."""
    return cluster["spec"].get("gcsFaultToleranceOptions") is not None


def holds(cluster: Manifest) -> bool:
    """Whether the finalizer stands on the cluster."""
    return FINALIZER in (cluster["metadata"].get("finalizers") or [])


def timeout_seconds(cluster: Manifest) -> int:
    """How long a deletion waits for Redis to be cleaned up."""
    text = (cluster["metadata"].get("annotations") or {}).get(TIMEOUT_ANNOTATION, "")
    return int(text) if text.isdigit() and int(text) > 0 else TIMEOUT_SECONDS


def storage_namespace(cluster: Manifest) -> str:
    """The name in Redis under which the cluster's tables stand: the one given, else the cluster's uid."""
    return str(_options(cluster).get("externalStorageNamespace") or cluster["metadata"]["uid"])


def head_annotations(cluster: Manifest) -> dict[str, str]:
    """The annotations of a head pod, which say whether it is fault tolerant in either case."""
    if not enabled(cluster):
        return {c.ANNOTATION_FAULT_TOLERANCE: "false"}
    return {
        c.ANNOTATION_FAULT_TOLERANCE: "true",
        c.ANNOTATION_EXTERNAL_STORAGE: storage_namespace(cluster),
    }


def start_params(cluster: Manifest) -> dict[str, str]:
    """Parameters of the head's `ray start`: the credentials, by the variables that hold them."""
    options = _options(cluster)
    return {param: f"${variable}" for field, variable, param in _CREDENTIALS if options.get(field)}


def variables(cluster: Manifest, node_type: str, present: list[Manifest]) -> list[Manifest]:
    """The variables to add to those `present` in a Ray container."""
    if not enabled(cluster):
        return []
    names = {entry["name"] for entry in present}
    if node_type == c.WORKER:
        wanted = [{"name": "RAY_gcs_rpc_server_reconnect_timeout_s", "value": WORKER_RECONNECT_SECONDS}]
        return [entry for entry in wanted if entry["name"] not in names]
    options = _options(cluster)
    storage = [] if _NAMESPACE in names else [{"name": _NAMESPACE, "value": storage_namespace(cluster)}]
    address = {"name": _ADDRESS, "value": options.get("redisAddress", "")}
    return [
        *storage,
        address,
        *({"name": name, **options[field]} for field, name, _ in _CREDENTIALS if options.get(field)),
    ]


def problem(cluster: Manifest) -> str | None:
    """What KubeRay refuses, in its words."""
    annotations = cluster["metadata"].get("annotations") or {}
    head = cluster["spec"]["headGroupSpec"]
    names = {entry["name"] for entry in head["template"]["spec"]["containers"][0].get("env") or []}
    params = head.get("rayStartParams") or {}
    if not enabled(cluster):
        if annotations.get(c.ANNOTATION_FAULT_TOLERANCE, "").lower() != "true" and _ADDRESS in names:
            return (
                f"{_ADDRESS} is set which implicitly enables GCS fault tolerance, "
                "but GcsFaultToleranceOptions is not set"
            )
        return _user_name(names, params)
    if annotations.get(c.ANNOTATION_FAULT_TOLERANCE):
        return f"{c.ANNOTATION_FAULT_TOLERANCE} annotation and GcsFaultToleranceOptions are both set"
    for present, told, instead in (
        (params.get("redis-password"), "`redis-password` in rayStartParams", "RedisPassword"),
        ("REDIS_PASSWORD" in names, "`REDIS_PASSWORD` env var in head Pod", "RedisPassword"),
        (_ADDRESS in names, f"`{_ADDRESS}` env var in head Pod", "RedisAddress"),
        (
            annotations.get(c.ANNOTATION_EXTERNAL_STORAGE),
            f"`{c.ANNOTATION_EXTERNAL_STORAGE}` annotation",
            "ExternalStorageNamespace",
        ),
    ):
        if present:
            return (
                f"cannot set {told} when GcsFaultToleranceOptions is enabled - "
                f"use GcsFaultToleranceOptions.{instead} instead"
            )
    return _backend(_options(cluster)) or _user_name(names, params)


def _user_name(names: set[str], params: Manifest) -> str | None:
    if params.get("redis-username") or "REDIS_USERNAME" in names:
        return (
            "cannot set redis username in rayStartParams or environment variables - "
            "use GcsFaultToleranceOptions.RedisUsername instead"
        )
    return None


def _backend(options: Manifest) -> str | None:
    if options.get("backend") == "rocksdb":
        return (
            "the embedded RocksDB GCS fault tolerance backend (GcsFaultToleranceOptions.Backend: 'rocksdb') "
            "requires the GCSFaultToleranceEmbeddedStorage feature gate to be enabled"
        )
    if options.get("storage") is not None:
        return (
            "cannot set GcsFaultToleranceOptions.Storage when backend is 'redis' - "
            "it only applies to the 'rocksdb' backend"
        )
    return None


def cleanup_pod(cluster: Manifest, head_pod: Manifest) -> Manifest:
    """The Pod that empties the cluster's name in Redis, made from what its head pod would be."""
    pod = deepcopy(head_pod)
    pod["metadata"].pop("generateName")
    pod["metadata"]["name"] = f"{cluster['metadata']['name']}-{CLEANUP}"
    pod["metadata"]["labels"] |= {c.LABEL_NODE_TYPE: CLEANUP, c.LABEL_GROUP: CLEANUP}
    ray = pod["spec"]["containers"][0]
    ray |= {"command": ["python", "-c", _CLEAN_UP], "args": []}
    ray["env"] += [{"name": name, "value": value} for name, value in _PATIENCE.items()]
    ray["resources"] = {"limits": dict(_CLEANUP_RESOURCES), "requests": dict(_CLEANUP_RESOURCES)}
    for probe in ("livenessProbe", "readinessProbe"):
        ray.pop(probe, None)
    pod["spec"] |= {"containers": [ray], "restartPolicy": "Never"}
    return pod


def _options(cluster: Manifest) -> Manifest:
    options: Manifest = cluster["spec"].get("gcsFaultToleranceOptions") or {}
    return options
