"""The environment variables that KubeRay adds to Ray containers and to init containers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay import naming

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devcluster.kuberay.constants import Manifest


def variable(name: str, value: str) -> Manifest:
    """A variable with a plain value."""
    return {"name": name, "value": value}


def missing(present: Iterable[Manifest], wanted: Iterable[Manifest]) -> list[Manifest]:
    """Those wanted variables whose names are not there yet: what a user sets stays."""
    names = {entry["name"] for entry in present}
    return [entry for entry in wanted if entry["name"] not in names]


def auth_enabled(cluster: Manifest) -> bool:
    """Whether Ray asks for a token. Only an explicit `mode: token` does: `authOptions: {}` does not."""
    return (cluster["spec"].get("authOptions") or {}).get("mode") == "token"


def auth_secret(cluster: Manifest) -> str:
    """Name of the Secret with the token: the given one, else the one made for the cluster."""
    given = (cluster["spec"].get("authOptions") or {}).get("secretName")
    return str(given or naming.auth_secret_name(cluster["metadata"]["name"]))


def auth(cluster: Manifest) -> list[Manifest]:
    """Token authentication, where the spec asks for it; the token itself stays in its Secret."""
    if not auth_enabled(cluster):
        return []
    reference = {"name": auth_secret(cluster), "key": c.TOKEN_KEY}
    return [
        variable("RAY_AUTH_MODE", "token"),
        {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": reference}},
    ]


def head_address(cluster: Manifest) -> list[Manifest]:
    """Where the head is: in every init container and every worker."""
    host = naming.head_service_host(cluster)
    return [variable("FQ_RAY_IP", host), variable("RAY_IP", host.partition(".")[0])]


def for_ray_container(cluster: Manifest, node_type: str, start_command: str, present: list[Manifest]) -> list[Manifest]:
    """The whole environment of a Ray container, given what the template and `auth` already set."""
    host = "127.0.0.1" if node_type == c.HEAD else naming.head_service_host(cluster)
    port = head_port(cluster)
    env = [*present, *(head_address(cluster) if node_type == c.WORKER else [])]
    env += [
        _from_field("RAY_CLUSTER_NAME", f"metadata.labels['{c.LABEL_CLUSTER}']"),
        _from_field("RAY_CLUSTER_NAMESPACE", "metadata.namespace"),
        _from_field("RAY_CLOUD_INSTANCE_ID", "metadata.name"),
        _from_field("RAY_NODE_TYPE_NAME", f"metadata.labels['{c.LABEL_GROUP}']"),
        variable("KUBERAY_GEN_RAY_START_CMD", start_command),
    ]
    env += missing(env, [variable("RAY_PORT", port)])
    env += missing(env, [variable("RAY_ADDRESS", f"{host}:{port}")])
    env += missing(env, [variable("RAY_USAGE_STATS_KUBERAY_IN_USE", "1")])
    if node_type == c.HEAD:
        tags = f"kuberay_version={c.KUBERAY_VERSION};kuberay_crd=RayCluster"
        env.append(variable("RAY_USAGE_STATS_EXTRA_TAGS", tags))
    return env + missing(env, [variable("RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE", "1")])


def head_port(cluster: Manifest) -> str:
    """The port of the GCS: the head's `port` parameter, else 6379."""
    params = cluster["spec"]["headGroupSpec"].get("rayStartParams") or {}
    return str(params.get("port", c.GCS_PORT))


def _from_field(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
