"""A container's command and environment, resolved from its spec. Pure: what it refers to is handed in.

The environment starts clean: the base below, then `envFrom`, then `env` in order, with $(NAME) expanded as
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/ says.
Of the variables that name Services only those of the API server's own are set; service links are not offered.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from devcluster.kubelet.images import Image
from devcluster.kubelet.quantities import parse
from devcluster.kubelet.tokens import TokenKey

Object = Mapping[str, Any]
Reference = tuple[str, str]
"""("Secret" or "ConfigMap", name) in the pod's namespace."""

_EXPANSION = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class ConfigError(Exception):
    """A container cannot be made yet; `reason` is the waiting state's. It may heal when an object appears."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PodFacts:
    """What only the kubelet knows about a running Pod."""

    address: str
    host_address: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[Reference, Mapping[str, bytes]] = field(default_factory=dict)
    """Contents of those Secrets and ConfigMaps that exist, decoded."""
    tokens: Mapping[TokenKey, bytes] = field(default_factory=dict)
    """The ServiceAccount tokens that the Pod's volumes ask for."""


def base_environment(pod_name: str, search_path: str) -> dict[str, str]:
    """What every container starts with; `search_path` begins with the checkout's own commands."""
    return {
        "PATH": search_path,
        "HOME": "/tmp/home",  # noqa: S108 - the container's own /tmp
        "HOSTNAME": pod_name,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def api_server_environment(service: Object | None) -> dict[str, str]:
    """Where clients inside a pod find the API server, from the Service `kubernetes`; nothing without it."""
    address = str(((service or {}).get("spec") or {}).get("clusterIP") or "")
    if not address or service is None:
        return {}
    port = str(service["spec"]["ports"][0]["port"])
    return {
        "KUBERNETES_SERVICE_HOST": address,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
    }


def references(container: Object) -> Iterator[Reference]:
    """The Secrets and ConfigMaps that a container's environment needs, whether optional or not."""
    for source in container.get("envFrom") or []:
        for kind, name in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if name in source:
                yield kind, source[name]["name"]
    for variable in container.get("env") or []:
        value_from = variable.get("valueFrom") or {}
        for kind, name in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if name in value_from:
                yield kind, value_from[name]["name"]


def resolve(container: Object, pod: Object, facts: PodFacts, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a container. Raises `ConfigError` for what is missing or not understood."""
    environment = dict(base)
    for source in container.get("envFrom") or []:
        environment.update(_env_from(source, facts))
    for variable in container.get("env") or []:
        if variable.get("valueFrom"):
            value = _value_from(variable["valueFrom"], container, pod, facts)
            if value is not None:
                environment[variable["name"]] = value
        else:
            environment[variable["name"]] = expand(variable.get("value") or "", environment)
    return environment


def command_line(container: Object, environment: Mapping[str, str], image: Image | None) -> tuple[str, ...]:
    """The words to execute: the spec's, or else those of the image.

    Raises `ConfigError` for a container without a `command` whose image is not of this project, or starts nothing.
    """
    given = container.get("args") or []
    words = [*(container.get("command") or []), *given]
    if not container.get("command"):
        if image is None:
            raise ConfigError(
                f"Failed to pull image {container.get('image', '')!r}: the dev cluster pulls none and knows only what "
                "tidemill-operator and tidemill-workloads would run; give the container a command, which runs from "
                "the checkout",
                reason="ErrImagePull",
            )
        words = [*image.entrypoint, *(given or image.command)]
    if not words:
        raise ConfigError("no command specified", reason="CreateContainerError")
    return tuple(expand(word, environment) for word in words)


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; an unknown name stays as it stands and $$ is a literal $."""

    def replacement(match: "re.Match[str]") -> str:
        name = match.group(1)
        return "$" if name is None else environment.get(name, match.group(0))

    return _EXPANSION.sub(replacement, text)


def _env_from(source: Object, facts: PodFacts) -> dict[str, str]:
    for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
        if key in source:
            content = _content(kind, source[key], facts)
            prefix = source.get("prefix") or ""
            return {prefix + name: value.decode(errors="replace") for name, value in content.items()}
    raise ConfigError(f"envFrom: neither configMapRef nor secretRef in {dict(source)}")


def _content(kind: str, reference: Object, facts: PodFacts) -> Mapping[str, bytes]:
    content = facts.data.get((kind, reference["name"]))
    if content is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    return content


def _value_from(source: Object, container: Object, pod: Object, facts: PodFacts) -> str | None:
    if "fieldRef" in source:
        return field_value(source["fieldRef"]["fieldPath"], pod, facts)
    if "resourceFieldRef" in source:
        return resource_value(source["resourceFieldRef"], container, facts)
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if key in source:
            reference = source[key]
            value = _content(kind, reference, facts).get(reference["key"])
            if value is None and not reference.get("optional"):
                namespace = pod["metadata"].get("namespace", "")
                raise ConfigError(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")
            return None if value is None else value.decode(errors="replace")
    raise ConfigError(f"env valueFrom {sorted(source)} is not offered by the dev cluster")


def field_value(path: str, pod: Object, facts: PodFacts) -> str:
    """The value of a downward API field. Raises `ConfigError` for a path that Kubernetes has not or we lack."""
    metadata, spec = pod["metadata"], pod["spec"]
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript is not None:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        values = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
    known = {
        "metadata.name": metadata.get("name"),
        "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": facts.address,
        "status.podIPs": facts.address,
        "status.hostIP": facts.host_address,
        "status.hostIPs": facts.host_address,
    }
    if path not in known:
        raise ConfigError(f"fieldRef: {path} is not offered by the dev cluster")
    return str(known[path] or "")


def resource_value(reference: Object, container: Object, facts: PodFacts) -> str:
    """A container's limit or request in units of the divisor, rounded up; the node's amount where none is set."""
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    amounts = limits if kind == "limits" else {**limits, **(resources.get("requests") or {})}
    text = amounts.get(name) or (facts.allocatable.get(name) if kind == "limits" else None) or "0"
    divisor = parse(reference.get("divisor") or "0") or parse("1")
    return str(math.ceil(parse(text) / divisor))
