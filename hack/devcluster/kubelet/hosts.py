"""The /etc/hosts of every pod: its own name, and the names of Services in place of a DNS server.

A Service's names lead to its address, or, where it is headless, to the ready endpoints behind it. Every program
that resolves names by the C library, or reads the file as c-ares and Go do, finds them, and a change is there
within milliseconds; no answer is cached. What a DNS server would do beyond that is not offered: names of single
pods, SRV records, other names for outside hosts (`ExternalName`), wildcards, and turning the order of
several addresses from one answer to the next. Pure, but for `rewrite`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from devcluster.services.rules import cluster_address, headless_addresses

Object = Mapping[str, Any]
Names = Mapping[tuple[str, str], tuple[str, ...]]
"""The addresses of Services by (namespace, name)."""

_HEAD = """\
# Written by the dev cluster's kubelet; Services are kept up to date.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
"""
_PAGE = 4096


def service_addresses(services: Iterable[Object], slices: Iterable[Object]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The addresses that the names of each Service lead to; a Service that has none now is left out."""
    known = list(slices)
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for service in services:
        address = cluster_address(service)
        addresses = (address,) if address else headless_addresses(service, known)
        if addresses:
            found[service["metadata"]["namespace"], service["metadata"]["name"]] = addresses
    return found


def hosts_file(pod: Object, pod_address: str, services: Names) -> bytes:
    """The content for one pod, padded with empty lines to whole pages.

    It is rewritten in place, since a bind mount shows the file and not the name; a constant length means that
    a reader in the midst of it finds old or new lines, never half of one at the end.
    """
    namespace = pod["metadata"]["namespace"]
    lines = [f"{pod_address}\t{pod['metadata']['name']}"]
    lines += [f"{alias['ip']}\t{' '.join(alias['hostnames'])}" for alias in pod["spec"].get("hostAliases") or []]
    for key, addresses in sorted(services.items()):
        lines += [f"{address}\t{' '.join(_names(key, namespace))}" for address in addresses]
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
