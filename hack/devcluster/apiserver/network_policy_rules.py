"""What a real API server makes of NetworkPolicies beyond their schema: defaults, and what it refuses. Pure.

After k8s.io/kubernetes/pkg/apis/networking/{v1/defaults.go,validation/validation.go}. Labels in selectors are not
looked at here.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from devcluster.apiserver.errors import Cause
from devcluster.apiserver.objects import JsonObject

STORAGE = "networking.k8s.io/networkpolicies"
_DIRECTIONS = (("ingress", "from"), ("egress", "to"))
_PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")


def default_policy(policy: JsonObject) -> None:
    """Write down what is meant by what was left out. Changes the policy in place, before its schema is checked."""
    spec = policy.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for direction, _ in _DIRECTIONS:
        for rule in _dicts(spec.get(direction)):
            for port in _dicts(rule.get("ports")):
                port.setdefault("protocol", "TCP")


def policy_causes(policy: JsonObject) -> list[Cause]:
    """What is wrong with a policy that fits its schema."""
    spec = policy.get("spec") or {}
    causes = list(_type_causes(spec.get("policyTypes") or []))
    for direction, key in _DIRECTIONS:
        for number, rule in enumerate(spec.get(direction) or []):
            where = f"spec.{direction}[{number}]"
            for at, port in enumerate(rule.get("ports") or []):
                causes += _port_causes(port, f"{where}.ports[{at}]")
            for at, peer in enumerate(rule.get(key) or []):
                causes += _peer_causes(peer, f"{where}.{key}[{at}]")
    return causes


def _dicts(value: Any) -> list[JsonObject]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _type_causes(types: list[str]) -> Iterator[Cause]:
    if len(types) > 2:
        yield _wrong("spec.policyTypes", types, "may not specify more than two policyTypes")
    for at, one in enumerate(types):
        if one not in {"Ingress", "Egress"}:
            supported = 'Unsupported value: "{}": supported values: "Egress", "Ingress"'
            yield Cause("FieldValueNotSupported", f"spec.policyTypes[{at}]", supported.format(one))


def _port_causes(port: JsonObject, where: str) -> Iterator[Cause]:
    protocol, first, last = port.get("protocol", "TCP"), port.get("port"), port.get("endPort")
    if protocol not in {"TCP", "UDP", "SCTP"}:
        supported = f'Unsupported value: "{protocol}": supported values: "SCTP", "TCP", "UDP"'
        yield Cause("FieldValueNotSupported", f"{where}.protocol", supported)
    if isinstance(first, str) and not _PORT_NAME.fullmatch(first):
        why = "must be at most 15 characters of a-z, 0-9 and -, with a letter, and without - at an end or in a row"
        yield _wrong(f"{where}.port", first, why)
    for field, number in (("port", first), ("endPort", last)):
        if isinstance(number, int) and not 1 <= number <= 65535:
            yield _wrong(f"{where}.{field}", number, "must be between 1 and 65535, inclusive")
    if last is not None and first is None:
        yield _wrong(f"{where}.endPort", last, "may not be specified when `port` is not specified")
    elif last is not None and isinstance(first, str):
        yield _wrong(f"{where}.endPort", last, "may not be specified when `port` is non-numeric")
    elif last is not None and first is not None and last < first:
        yield _wrong(f"{where}.endPort", first, "must be greater than or equal to `port`")


def _peer_causes(peer: JsonObject, where: str) -> Iterator[Cause]:
    kinds = {kind for kind in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(kind) is not None}
    if not kinds:
        yield Cause("FieldValueRequired", where, "Required value: must specify a peer")
    elif "ipBlock" in kinds and len(kinds) > 1:
        yield Cause("FieldValueForbidden", where, "Forbidden: may not specify both ipBlock and another peer")
    if "ipBlock" in kinds:
        yield from _block_causes(peer["ipBlock"], f"{where}.ipBlock")


def _block_causes(block: JsonObject, where: str) -> Iterator[Cause]:
    network = _network(block.get("cidr") or "")
    if network is None:
        yield _wrong(f"{where}.cidr", block.get("cidr"), "must be a valid CIDR value, (e.g. 10.9.8.0/24)")
    for at, text in enumerate(block.get("except") or []):
        excepted = _network(text)
        if excepted is None:
            yield _wrong(f"{where}.except[{at}]", text, "must be a valid CIDR value, (e.g. 10.9.8.0/24)")
        elif network is not None and not _strictly_within(excepted, network):
            yield _wrong(f"{where}.except[{at}]", text, f"must be a strict subset of `cidr` {block['cidr']}")


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _strictly_within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner != outer and inner.subnet_of(outer)
    return (
        isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner != outer and inner.subnet_of(outer)
    )


def _wrong(field: str, value: object, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause("FieldValueInvalid", field, f"Invalid value: {shown}: {why}")
