"""The /etc/hosts of every pod: its own name, and the names of Services in place of a DNS server.

Each Service's names lead to the address of one pod it selects: a ready one, else (or where the Service says
`publishNotReadyAddresses`) one that runs. So a Service's port is the pod's: `targetPort` is not translated and
load is not spread. The oldest of the candidates is taken, so that the answer stays the same while it lives.
Pure, but for `rewrite`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Object = Mapping[str, Any]

_HEAD = """\
# Written by the dev cluster's kubelet; Services are kept up to date.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
"""
_PAGE = 4096


def service_addresses(services: Iterable[Object], pods: Iterable[Object]) -> dict[tuple[str, str], str]:
    """The address behind each Service that has one, by (namespace, name)."""
    by_namespace: dict[str, list[Object]] = {}
    for pod in sorted(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"])):
        if _address(pod):
            by_namespace.setdefault(pod["metadata"]["namespace"], []).append(pod)
    addresses: dict[tuple[str, str], str] = {}
    for service in services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        selected = [pod for pod in by_namespace.get(namespace, []) if _selects(service, pod)]
        if selected:
            first = min(selected, key=lambda pod: not _ready(pod))
            addresses[namespace, name] = _address(first)
    return addresses


def hosts_file(pod: Object, pod_address: str, services: Mapping[tuple[str, str], str]) -> bytes:
    """The content for one pod, padded with empty lines to whole pages.

    It is rewritten in place, since a bind mount shows the file and not the name; a constant length means that
    a reader in the midst of it finds old or new lines, never half of one at the end.
    """
    namespace = pod["metadata"]["namespace"]
    lines = [f"{pod_address}\t{pod['metadata']['name']}"]
    lines += [f"{alias['ip']}\t{' '.join(alias['hostnames'])}" for alias in pod["spec"].get("hostAliases") or []]
    lines += [f"{address}\t{' '.join(_names(key, namespace))}" for key, address in sorted(services.items())]
    content = (_HEAD + "\n".join(lines) + "\n").encode()
    return content.ljust(-(-len(content) // _PAGE) * _PAGE, b"\n")


def rewrite(path: Path, content: bytes) -> None:
    """Write a hosts file in place, in one write. Raises FileNotFoundError where it was removed."""
    with path.open("r+b", buffering=0) as file:
        file.write(content)
        file.truncate(len(content))


def _names(service: tuple[str, str], own_namespace: str) -> Iterator[str]:
    namespace, name = service
    yield f"{name}.{namespace}.svc.cluster.local"
    yield f"{name}.{namespace}.svc"
    yield f"{name}.{namespace}"
    if namespace == own_namespace:
        yield name


def _selects(service: Object, pod: Object) -> bool:
    selector = (service.get("spec") or {}).get("selector") or {}
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _address(pod: Object) -> str:
    status = pod.get("status") or {}
    gone = pod["metadata"].get("deletionTimestamp") or status.get("phase") in {"Succeeded", "Failed"}
    return "" if gone else str(status.get("podIP") or "")


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
