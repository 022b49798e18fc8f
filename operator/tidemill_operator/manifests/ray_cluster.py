"""The RayCluster of a job, and the Secret with its token: pure builders, API types in, dicts out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tidemill_api import GROUP, VERSION, labels
from tidemill_api.job_contract import ENGINE_RESOURCE
from tidemill_api.v1alpha1.batch_inference_job import KIND
from tidemill_operator.core.queueing import Queueing
from tidemill_operator.manifests.names import cluster_name, secret_name
from tidemill_operator.manifests.pods import child_labels, head_role, pod_template, worker_role
from tidemill_operator.manifests.quantities import quantity, whole_bytes

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec

RAY_API = "ray.io/v1"
WORKER_GROUP = "engines"
TOKEN_KEY = "auth_token"  # noqa: S105 - the key under which KubeRay looks for the token, not a token

OBJECT_STORE_SHARE = 10
"""The object store is the pod's memory divided by this: only descriptors of chunks pass through it, never rows."""

MIN_OBJECT_STORE = 80 * 2**20
MAX_OBJECT_STORE = 2 * 2**30
"""Bytes. Ray refuses to start below 75 MiB; above 2 GiB nothing here would fill it."""


@dataclass(frozen=True)
class ClusterOrder:
    """What the RayCluster of a job is made from. `image_cpu` and `image_gpu` serve jobs that name none."""

    namespace: str
    owner: str
    owner_uid: str
    spec: BatchInferenceJobSpec
    ray_version: str
    image_cpu: str
    image_gpu: str
    queueing: Queueing = field(default_factory=Queueing)
    priority_class: str = ""
    made_by: str = ""

    @property
    def name(self) -> str:
        """The RayCluster's name."""
        return cluster_name(self.owner, self.owner_uid)

    @property
    def image(self) -> str:
        """The image of head and workers: they must run the same Ray and Python."""
        return self.spec.image or (self.image_gpu if self.spec.resources.gpu else self.image_cpu)


def ray_cluster(order: ClusterOrder, workers: int = 0) -> dict[str, Any]:
    """The RayCluster: a head without CPUs for tasks, one group of so many workers, token authentication."""
    return {
        "apiVersion": RAY_API,
        "kind": "RayCluster",
        "metadata": cluster_metadata(_metadata(order, order.name), order.queueing, order.made_by),
        "spec": {
            "rayVersion": order.ray_version,
            "enableInTreeAutoscaling": False,  # it would be a second writer of `replicas`
            "authOptions": {"mode": "token", "secretName": secret_name(order.name)},
            "headGroupSpec": {
                "rayStartParams": {
                    "num-cpus": "0",
                    "num-gpus": "0",
                    "dashboard-host": "0.0.0.0",  # noqa: S104 - inside the pod's own network, behind a token
                    "object-store-memory": object_store(order.spec.head.memory),
                },
                "template": _head_template(order),
            },
            "workerGroupSpecs": [_worker_group(order, workers)],
        },
    }


def token_secret(order: ClusterOrder, token: str) -> dict[str, Any]:
    """The Secret with the token that Ray's REST API asks for."""
    return token_of(_metadata(order, secret_name(order.name)), token)


def token_of(metadata: dict[str, Any], token: str) -> dict[str, Any]:
    """The Secret with this metadata that holds the token of a RayCluster."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "immutable": True,
        "stringData": {TOKEN_KEY: token},
    }


def cluster_metadata(metadata: dict[str, Any], queueing: Queueing, made_by: str) -> dict[str, Any]:
    """The metadata of a RayCluster: who made it, and its Kueue queue. Whether it is suspended is Kueue's to say.

    By Kueue's pkg/controller/jobs/raycluster and pkg/workloadslicing.
    """
    said, queued = {labels.MADE_BY: made_by} if made_by else {}, {}
    if queueing.queue:
        queued = {labels.KUEUE_QUEUE: queueing.queue}
        queued |= {labels.KUEUE_PRIORITY: queueing.priority} if queueing.priority else {}
        said |= {labels.KUEUE_ELASTIC: "true"} if queueing.elastic else {}
    annotations = {"annotations": metadata.get("annotations", {}) | said} if said else {}
    return metadata | {"labels": metadata["labels"] | queued} | annotations


class Owned(Protocol):
    """Whose child is made."""

    @property
    def namespace(self) -> str:
        """Where owner and child are."""

    @property
    def owner(self) -> str:
        """The owner's name."""

    @property
    def owner_uid(self) -> str:
        """The owner's uid."""


def child_metadata(of: Owned, kind: str, name: str, ours: dict[str, str]) -> dict[str, Any]:
    """The metadata of a child that goes with its owner of this kind."""
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": kind,
        "name": of.owner,
        "uid": of.owner_uid,
        "controller": True,
    }
    return {"name": name, "namespace": of.namespace, "labels": ours, "ownerReferences": [owner]}


def _metadata(order: ClusterOrder, name: str) -> dict[str, Any]:
    return child_metadata(order, KIND, name, child_labels(order.owner))


def _head_template(order: ClusterOrder) -> dict[str, Any]:
    """The head's pod. It restarts in place; Ray then forgets its attempts, and the operator submits the next one."""
    role, ours = head_role(order.spec), child_labels(order.owner, "head")
    template = pod_template(order.spec, ours, order.image, role, order.priority_class)
    template["spec"]["restartPolicy"] = "Always"
    return template


def _worker_group(order: ClusterOrder, workers: int) -> dict[str, Any]:
    spec = order.spec
    return {
        "groupName": WORKER_GROUP,
        "replicas": workers,
        "minReplicas": 0,
        "maxReplicas": spec.workers.max,
        "rayStartParams": {
            # Engines take no CPU of Ray's count; Ray Data's own small tasks need a place that is not the head.
            "num-cpus": str(max(int(quantity(spec.resources.cpu)), 1)),
            "num-gpus": str(spec.resources.gpu),  # KubeRay counts devices named nvidia.com/gpu only
            "object-store-memory": object_store(spec.resources.memory),
            "resources": ray_resources({ENGINE_RESOURCE: 1}),
        },
        "template": pod_template(
            spec, child_labels(order.owner, "worker"), order.image, worker_role(spec), order.priority_class
        ),
    }


def ray_resources(amounts: dict[str, int]) -> str:
    """Custom resources of a Ray node. KubeRay pastes this into a shell command: it needs its own quotes and escapes."""
    return json.dumps(json.dumps(amounts))


def object_store(memory: str) -> str:
    """Bytes of the object store of a pod with so much memory, as Ray's command line takes them."""
    return str(min(max(whole_bytes(memory) // OBJECT_STORE_SHARE, MIN_OBJECT_STORE), MAX_OBJECT_STORE))
