"""The pods of a RayCluster: pure builders from the cluster object to Pod manifests.

The first container of a template is the Ray container; everything KubeRay adds goes there. Nothing is
taken away from a template, and what it sets itself (a probe, a variable, a mount at /dev/shm) stays.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay import environment, fault_tolerance, naming, probes, ray_start

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest

_SHELL = ["/bin/bash", "-c", "--"]

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a mount point in a pod, not a file of ours

_RAISE_OPEN_FILES = "ulimit -n ${RAY_START_ULIMIT_OPEN_FILES:-65536}"
"""Ray opens a descriptor per connection; a container's usual 1024 are soon used up."""

_WAIT_FOR_GCS = """\
while true; do
  if [ "$SECONDS" -le 120 ]; then
    ray health-check --address {address} > /dev/null 2>&1 && break
  else
    ray health-check --address {address} && break
  fi
  echo "$SECONDS seconds elapsed: waiting for the GCS at {address}."
  sleep 5
done
echo "GCS is ready."
"""
"""Quiet for two minutes, since a GCS that is still starting is no fault; every five seconds as in KubeRay."""

_WAIT_RESOURCES = {"cpu": "200m", "memory": "256Mi"}


def head_pod(cluster: Manifest) -> Manifest:
    """The head pod, to be created with a generated name."""
    group = cluster["spec"]["headGroupSpec"]
    template = deepcopy(group["template"])
    metadata = _metadata(cluster, group, template, c.HEAD, c.HEAD_GROUP)
    metadata["generateName"] = naming.head_pod_prefix(cluster["metadata"]["name"])
    metadata["annotations"] |= {
        **fault_tolerance.head_annotations(cluster),
        c.ANNOTATION_RECREATE_HASH: naming.recreate_hash(cluster["spec"]),
        c.ANNOTATION_VERSION: c.KUBERAY_VERSION,
    }
    node = _node(cluster, group, c.HEAD)
    return _pod(metadata, _spec(cluster, template["spec"], node, metadata["annotations"]))


def worker_pod(cluster: Manifest, group: Manifest, replica_index: int) -> Manifest:
    """One worker pod of a group, to be created with a generated name."""
    template = deepcopy(group["template"])
    name = group["groupName"]
    metadata = _metadata(cluster, group, template, c.WORKER, name)
    metadata["generateName"] = naming.worker_pod_prefix(cluster["metadata"]["name"], name)
    metadata["labels"][c.LABEL_REPLICA_INDEX] = str(replica_index)
    spec = template["spec"]
    spec["initContainers"] = [*spec.get("initContainers", []), _wait_for_gcs(cluster, spec["containers"][0])]
    node = _node(cluster, group, c.WORKER)
    return _pod(metadata, _spec(cluster, spec, node, metadata["annotations"]))


def _pod(metadata: Manifest, spec: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _metadata(cluster: Manifest, group: Manifest, template: Manifest, node_type: str, group_name: str) -> Manifest:
    given = template.get("metadata") or {}
    name = cluster["metadata"]["name"]
    fixed = {c.LABEL_NODE_TYPE: node_type, c.LABEL_GROUP: group_name, c.LABEL_CLUSTER: name}
    labels = {
        c.LABEL_IS_RAY_NODE: "yes",
        c.LABEL_IDENTIFIER: naming.identifier(name, node_type),
        c.LABEL_APPLICATION: "kuberay",
        c.LABEL_CREATED_BY: "kuberay-operator",
        **(given.get("labels") or {}),
        **(group.get("labels") or {}),
        **fixed,
    }
    annotations = dict(given.get("annotations") or {})
    if _overwrites_command(cluster["metadata"].get("annotations") or {}):
        annotations[c.ANNOTATION_OVERWRITE_COMMAND] = "true"
    return {
        "namespace": naming.namespace_of(cluster),
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [naming.owner_reference(cluster)],
    }


def _node(cluster: Manifest, group: Manifest, node_type: str) -> ray_start.Node:
    extra = fault_tolerance.start_params(cluster) if node_type == c.HEAD else {}
    return ray_start.Node(
        node_type=node_type,
        params=(group.get("rayStartParams") or {}) | extra,
        address=f"{naming.head_service_host(cluster)}:{environment.head_port(cluster)}",
        group_resources=group.get("resources") or {},
        group_labels=group.get("labels") or {},
        container_resources=group["template"]["spec"]["containers"][0].get("resources") or {},
    )


def _spec(cluster: Manifest, spec: Manifest, node: ray_start.Node, annotations: dict[str, str]) -> Manifest:
    ray, *sidecars = spec["containers"]
    params = ray_start.complete_params(node)
    start = ray_start.command(node)
    ray = _with_metrics_port(ray)
    ray, volumes = _with_shared_memory(ray, spec.get("volumes") or [], params)
    ray |= _command(ray, start, annotations)
    present = list(ray.get("env") or [])
    present += environment.missing(present, environment.auth(cluster))
    present += fault_tolerance.variables(cluster, node.node_type, present)
    ray["env"] = environment.for_ray_container(cluster, node.node_type, start, present)
    ray = probes.with_probes(ray, node.node_type, params, cluster["spec"].get("rayVersion", ""))
    completed = {**spec, "containers": [ray, *sidecars], "volumes": volumes}
    if spec.get("initContainers"):
        completed["initContainers"] = [_init_container(cluster, entry) for entry in spec["initContainers"]]
    return completed


def _init_container(cluster: Manifest, container: Manifest) -> Manifest:
    return {**container, "env": [*(container.get("env") or []), *environment.head_address(cluster)]}


def _wait_for_gcs(cluster: Manifest, ray: Manifest) -> Manifest:
    """The init container that holds a worker back until the head's GCS answers."""
    address = f"{naming.head_service_host(cluster)}:{environment.head_port(cluster)}"
    env = list(ray.get("env") or [])
    container = {
        "name": "wait-gcs-ready",
        "command": _SHELL,
        "args": [_WAIT_FOR_GCS.format(address=address)],
        "env": [*env, *environment.missing(env, environment.auth(cluster))],
        "resources": {"limits": dict(_WAIT_RESOURCES), "requests": dict(_WAIT_RESOURCES)},
    }
    for field in ("image", "imagePullPolicy", "securityContext", "volumeMounts"):
        if field in ray:
            container[field] = deepcopy(ray[field])
    return container


def _with_metrics_port(ray: Manifest) -> Manifest:
    ports = ray.get("ports") or []
    if any(port.get("name") == "metrics" for port in ports):
        return ray
    return {**ray, "ports": [*ports, {"name": "metrics", "containerPort": c.METRICS_PORT}]}


def _with_shared_memory(
    ray: Manifest, volumes: list[Manifest], params: dict[str, str]
) -> tuple[Manifest, list[Manifest]]:
    """Ray's object store in memory, unless the template mounts /dev/shm or keeps the store elsewhere."""
    mounts = ray.get("volumeMounts") or []
    if "plasma-directory" in params or any(mount["mountPath"] == _SHARED_MEMORY for mount in mounts):
        return ray, volumes
    if not any(volume["name"] == "shared-mem" for volume in volumes):
        resources = ray.get("resources") or {}
        limit = (resources.get("limits") or {}).get("memory") or (resources.get("requests") or {}).get("memory")
        source = {"medium": "Memory"} | ({"sizeLimit": limit} if limit else {})
        volumes = [*volumes, {"name": "shared-mem", "emptyDir": source}]
    mount = {"name": "shared-mem", "mountPath": _SHARED_MEMORY}
    return {**ray, "volumeMounts": [*mounts, mount]}, volumes


def _command(ray: Manifest, start: str, annotations: dict[str, str]) -> Manifest:
    """The generated command; a command of the template runs before it, unless it starts Ray itself."""
    words = [*(ray.get("command") or []), *(ray.get("args") or [])]
    own = "".join(f" {word} " for word in words)
    if _overwrites_command(annotations) or "ray start" in own:
        return {}
    generated = f"{_RAISE_OPEN_FILES}; {start}"
    return {"command": list(_SHELL), "args": [f"{own} && {generated}" if own else generated]}


def _overwrites_command(annotations: dict[str, str]) -> bool:
    return annotations.get(c.ANNOTATION_OVERWRITE_COMMAND, "").lower() == "true"
