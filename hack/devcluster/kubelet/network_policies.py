"""Who may talk to whom: NetworkPolicies (networking.k8s.io/v1), pods and namespaces in, each pod's isolation out.

Pure. The rules are those of the API's reference and of Kubernetes' documentation ("Network Policies"): a pod is
isolated in a direction as soon as one policy selects it for that direction; then exactly what one of these policies
allows may pass. `packet_filter` writes the outcome for the kernel, `policy_enforcement` applies it.

An ipBlock covers pods' addresses too, as most network plugins have it. A named port that is allowed outwards means
the port of that name of each pod it leads to.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

Object = Mapping[str, Any]

LAST_PORT = 65535


class PortRange(NamedTuple):
    """Ports of one protocol (`tcp`, `udp` or `sctp`), both ends included."""

    protocol: str
    first: int = 0
    last: int = LAST_PORT


class NamedPort(NamedTuple):
    """A container's port that has a name; the protocol in small letters."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True)
class Block:
    """An IPv4 network without parts of it, or a single address; both as written in a CIDR."""

    network: str
    excepted: tuple[str, ...] = ()

    def covers(self, address: str) -> bool:
        """Whether an IPv4 address lies in it."""
        at = ip_address(address)
        return at in _network(self.network) and not any(at in _network(one) for one in self.excepted)


@dataclass(frozen=True)
class Allowance:
    """What may pass: from or to these blocks (None: any address) on these ports (None: all, of every protocol)."""

    blocks: tuple[Block, ...] | None = None
    ports: tuple[PortRange, ...] | None = None


@dataclass(frozen=True)
class Isolation:
    """What may reach a pod and what it may reach; None for a direction in which it is not isolated."""

    ingress: tuple[Allowance, ...] | None = None
    egress: tuple[Allowance, ...] | None = None


@dataclass(frozen=True)
class Pod:
    """What of a pod the rules are about. It has an address, or it would not be here."""

    namespace: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[NamedPort, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides: policies as the API has them, pods, and each namespace's labels."""

    policies: tuple[Object, ...]
    pods: tuple[Pod, ...]
    namespaces: Mapping[str, Mapping[str, str]]


def named_ports(pod: Object) -> tuple[NamedPort, ...]:
    """The named ports of a Pod's containers, with those of init containers that run beside them."""
    beside = [one for one in pod["spec"].get("initContainers") or [] if one.get("restartPolicy") == "Always"]
    return tuple(
        NamedPort(port["name"], _protocol(port), port["containerPort"])
        for container in (*pod["spec"]["containers"], *beside)
        for port in container.get("ports") or []
        if port.get("name")
    )


def problem(policy: Object) -> str:
    """What in a policy cannot be read, which a real API server would refuse; empty if nothing."""
    for direction, key in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(direction) or []:
            for peer in rule.get(key) or []:
                block = peer.get("ipBlock")
                for text in (block["cidr"], *(block.get("except") or [])) if block else ():
                    try:
                        _network(text)
                    except ValueError as error:
                        return f"spec.{direction}: ipBlock: {error}"
    return ""


def isolations(snapshot: Snapshot) -> dict[str, Isolation]:
    """The isolation of each pod that a policy selects, by its address. Policies with a `problem` must be left out."""
    found: dict[str, Isolation] = {}
    for pod in snapshot.pods:
        own = [one for one in snapshot.policies if _selects(one, pod)]
        inward, outward = ([one for one in own if kind in _types(one)] for kind in ("Ingress", "Egress"))
        if inward or outward:
            ingress = tuple(entry for one in inward for entry in _ingress(one, pod, snapshot))
            egress = tuple(entry for one in outward for entry in _egress(one, snapshot))
            found[pod.address] = Isolation(ingress if inward else None, egress if outward else None)
    return found


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects these labels; an empty one selects everything."""
    equal = (selector.get("matchLabels") or {}).items() <= labels.items()
    return equal and all(_expression_matches(one, labels) for one in selector.get("matchExpressions") or [])


def _expression_matches(expression: Object, labels: Mapping[str, str]) -> bool:
    value, listed = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in listed
        case "NotIn":
            return value not in listed
        case "Exists":
            return value is not None
        case _:  # DoesNotExist: the schema has no other
            return value is None


def _selects(policy: Object, pod: Pod) -> bool:
    selector = policy["spec"].get("podSelector") or {}
    return policy["metadata"]["namespace"] == pod.namespace and matches(selector, pod.labels)


def _types(policy: Object) -> list[str]:
    """The directions a policy is about; unsaid, ingress always and egress where there is a rule for it."""
    said = policy["spec"].get("policyTypes")
    return list(said or (["Ingress", "Egress"] if policy["spec"].get("egress") else ["Ingress"]))


def _ingress(policy: Object, pod: Pod, snapshot: Snapshot) -> Iterator[Allowance]:
    for rule in policy["spec"].get("ingress") or []:
        blocks = _blocks(rule.get("from"), policy["metadata"]["namespace"], snapshot)
        ports = [entry for port in rule.get("ports") or [] for entry in _own_ports(port, pod)]
        if rule.get("ports"):
            yield from _allowances(blocks, tuple(ports))
        else:
            yield from _allowances(blocks, None)


def _egress(policy: Object, snapshot: Snapshot) -> Iterator[Allowance]:
    for rule in policy["spec"].get("egress") or []:
        blocks = _blocks(rule.get("to"), policy["metadata"]["namespace"], snapshot)
        if not rule.get("ports"):
            yield from _allowances(blocks, None)
            continue
        named = [port for port in rule["ports"] if isinstance(port.get("port"), str)]
        yield from _allowances(blocks, tuple(_numbers(port) for port in rule["ports"] if port not in named))
        for port in named:
            for pod in snapshot.pods:
                if blocks is None or any(block.covers(pod.address) for block in blocks):
                    yield from _allowances((Block(pod.address),), tuple(_own_ports(port, pod)))


def _allowances(blocks: tuple[Block, ...] | None, ports: tuple[PortRange, ...] | None) -> Iterator[Allowance]:
    """One allowance, or none where no address or no port is meant."""
    if blocks != () and ports != ():
        yield Allowance(blocks, ports)


def _blocks(peers: Iterable[Object] | None, namespace: str, snapshot: Snapshot) -> tuple[Block, ...] | None:
    """What the peers of a rule stand for; None for anything, where none is given."""
    peers = list(peers or ())
    if not peers:
        return None
    blocks = {
        Block(peer["ipBlock"]["cidr"], tuple(peer["ipBlock"].get("except") or ()))
        for peer in peers
        if peer.get("ipBlock") and isinstance(_network(peer["ipBlock"]["cidr"]), IPv4Network)
    }
    blocks |= {
        Block(pod.address) for pod in snapshot.pods if any(_meant(one, namespace, pod, snapshot) for one in peers)
    }
    return tuple(sorted(blocks, key=lambda block: (block.network, block.excepted)))


def _meant(peer: Object, namespace: str, pod: Pod, snapshot: Snapshot) -> bool:
    """Whether a peer's selectors mean a pod; a selector that is there and empty means all."""
    by_namespace, by_pod = peer.get("namespaceSelector"), peer.get("podSelector")
    if by_namespace is None and by_pod is None:
        return False
    if by_namespace is None:
        in_namespace = pod.namespace == namespace
    else:
        in_namespace = matches(by_namespace, snapshot.namespaces.get(pod.namespace) or {})
    return in_namespace and matches(by_pod or {}, pod.labels)


def _own_ports(port: Object, pod: Pod) -> Iterator[PortRange]:
    """The ports of a pod that a NetworkPolicyPort means: by number, or by the name it has there."""
    if not isinstance(port.get("port"), str):
        yield _numbers(port)
        return
    for own in pod.ports:
        if (own.name, own.protocol) == (port["port"], _protocol(port)):
            yield PortRange(own.protocol, own.number, own.number)


def _numbers(port: Object) -> PortRange:
    first = port.get("port")
    if first is None:
        return PortRange(_protocol(port))
    return PortRange(_protocol(port), int(first), int(port.get("endPort") or first))


def _protocol(port: Object) -> str:
    return str(port.get("protocol") or "TCP").lower()


def _network(text: str) -> IPv4Network | IPv6Network:
    """The network of a CIDR; bits beyond its length are ignored, as the API does. Raises ValueError."""
    return ip_network(text, strict=False)
