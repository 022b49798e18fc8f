"""Where each address and port of a Service leads: from Services and EndpointSlices, as kube-proxy reads them. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from devcluster.services.endpoints import SERVICE_LABEL

Object = Mapping[str, Any]


class Place(NamedTuple):
    """An IPv4 address and a TCP port: of a Service, or of one of its endpoints."""

    address: str
    port: int


@dataclass(frozen=True)
class Rule:
    """Where the connections to one place go. `sticky`: those of one client all to the same target."""

    service: str
    targets: tuple[Place, ...]
    sticky: bool = False

    def choose(self, client: str, turn: int) -> Place:
        """The target of the `turn`-th connection, which comes from the address `client`; there must be one.

        Sticky clients are spread by the largest hash, so most keep their target when another comes or goes.
        """
        if not self.sticky:
            return self.targets[turn % len(self.targets)]
        return max(self.targets, key=lambda target: hashlib.sha256(f"{client} {target}".encode()).digest())


def cluster_address(service: Object) -> str:
    """The address of a Service; empty for one that has none: headless, or a mere name for another host."""
    spec = service.get("spec") or {}
    address = str(spec.get("clusterIP") or "")
    if spec.get("type") == "ExternalName" or address == "None":
        return ""
    try:
        return str(IPv4Address(address))
    except ValueError:
        return ""


def rules(services: Iterable[Object], slices: Iterable[Object]) -> dict[Place, Rule]:
    """A rule for each TCP port of each Service that has an address, whether it has targets or not."""
    by_service: dict[tuple[str, str], list[Object]] = {}
    for one in slices:
        metadata = one["metadata"]
        name = (metadata.get("labels") or {}).get(SERVICE_LABEL, "")
        by_service.setdefault((metadata["namespace"], name), []).append(one)
    found: dict[Place, Rule] = {}
    for service in services:
        address = cluster_address(service)
        key = service["metadata"]["namespace"], service["metadata"]["name"]
        sticky = service["spec"].get("sessionAffinity") == "ClientIP"
        for port in service["spec"].get("ports") or [] if address else []:
            if port.get("protocol", "TCP") == "TCP":
                targets = _targets(by_service.get(key, []), port.get("name") or "")
                found[Place(address, port["port"])] = Rule("/".join(key), targets, sticky)
    return found


def headless_addresses(service: Object, slices: Iterable[Object]) -> tuple[str, ...]:
    """The ready addresses behind a Service without an address of its own; those of ending pods come last."""
    key = service["metadata"]["namespace"], service["metadata"]["name"]
    own = [
        endpoint
        for one in slices
        if (one["metadata"]["namespace"], (one["metadata"].get("labels") or {}).get(SERVICE_LABEL)) == key
        for endpoint in one.get("endpoints") or []
    ]
    ready = {(_is(one, "terminating", unsaid=False), one["addresses"][0]) for one in own if _is(one, "ready")}
    return tuple(dict.fromkeys(address for _, address in sorted(ready)))


def _targets(slices: Iterable[Object], port_name: str) -> tuple[Place, ...]:
    """The ready endpoints of a port, else those that end and still serve, as kube-proxy does since Kubernetes 1.28."""
    ready: set[Place] = set()
    ending: set[Place] = set()
    for one in slices:
        numbers = [
            port["port"]
            for port in one.get("ports") or []
            if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == "TCP" and port.get("port")
        ]
        if one.get("addressType") != "IPv4" or not numbers:
            continue
        for endpoint in one.get("endpoints") or []:
            place = Place(endpoint["addresses"][0], numbers[0])
            if _is(endpoint, "ready"):
                ready.add(place)
            elif _is(endpoint, "serving") and _is(endpoint, "terminating", unsaid=False):
                ending.add(place)
    return tuple(sorted(ready or ending))


def _is(endpoint: Object, condition: str, *, unsaid: bool = True) -> bool:
    value = (endpoint.get("conditions") or {}).get(condition)
    return unsaid if value is None else bool(value)
