"""Pods' isolation as rules of the kernel's packet filter, written for nft(8), and what the rules have dropped.

Each isolated pod has one table in its own network namespace, with a chain for what comes in and one for what goes
out. What is not allowed is dropped without a word, as most network plugins do: the one who asks sees a timeout.

Only the opening of a TCP connection is judged: every packet but a first SYN passes. So replies need no memory, and
connections that were open when a policy came live on (Kubernetes leaves that to the plugin). Other protocols are
judged by the kernel's memory of connections.

A connection through a Service is made anew by the proxy in the switch (`devcluster.services`). There it comes from
its client's stand-in address, one bit away from the client's own, so that the pod behind the Service still judges
the client. What the client may reach is judged in the switch too, by the pod that the proxy has chosen; the client's
own table lets everything pass that leaves the pods' network.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses

from devcluster.kubelet.network import NAMESPACES, STAND_IN_MASK, NetworkError, Subnet, pod_addresses, run_command
from devcluster.kubelet.network_policies import LAST_PORT, Allowance, Block, Isolation, PortRange

TABLE = "inet tidemill"
DROPPED = "dropped"
REMEMBERED = "timeout 1h; size 4096"
"""Of what was dropped, one entry for each sender, receiver and port; older ones are forgotten."""

_LETTING_PASS = (
    "ct state established,related accept",
    "tcp flags & (syn | ack) != syn accept",
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
)
_REMEMBERING = f"update @{DROPPED} {{ ip saddr . ip daddr . meta l4proto . th dport }}"
_DROPPING = (f"meta l4proto {{ tcp, udp, sctp }} {_REMEMBERING}", "drop")

NOTHING = f"add table {TABLE}\ndelete table {TABLE}\n"
"""The script of a namespace in which nothing is judged."""


@dataclass(frozen=True, order=True)
class Drop:
    """Something that did not pass: IPv4 addresses, the protocol's name, and the port at the receiver."""

    sender: str
    receiver: str
    protocol: str
    port: int


def pod_script(address: str, isolation: Isolation, subnet: Subnet) -> str:
    """What `nft -f -` makes the table of the pod of that address of, in one transaction, whatever was there before.

    The host and the pod itself always get in.
    """
    rules = []
    if isolation.ingress is not None:
        sender = f"ip saddr & {STAND_IN_MASK}"
        here = ('iifname "lo" accept', *_LETTING_PASS, f"{sender} {{ {subnet.host_address}, {address} }} accept")
        rules += _chain("ingress", (*here, *_accepting(isolation.ingress, sender), *_DROPPING))
    if isolation.egress is not None:
        elsewhere = f"ip daddr != {subnet.address(0)}/24 accept"
        here = ('oifname "lo" accept', *_LETTING_PASS, elsewhere)
        rules += _chain("egress", (*here, *_accepting(isolation.egress, "ip daddr"), *_DROPPING))
    return _script((("ingress", "input"), ("egress", "output")), rules)


def switch_script(isolations: Mapping[str, Isolation], subnet: Subnet) -> str:
    """The same for the switch, which judges what pods reach through Services; empty where nothing is to be judged.

    `isolations` is by pod address.
    """
    judged = {address: one.egress for address, one in sorted(isolations.items()) if one.egress is not None}
    if not judged:
        return ""
    jumps = ", ".join(f"{subnet.stand_in(address)} : goto {_chain_of(address)}" for address in judged)
    rules = _chain("egress", (*_LETTING_PASS, f"ip saddr vmap {{ {jumps} }}"))
    for address, allowances in judged.items():
        itself = f"ip daddr {address} accept"
        rules += _chain(_chain_of(address), (itself, *_accepting(allowances, "ip daddr"), *_DROPPING))
    chains = "".join(f"add chain {TABLE} {_chain_of(address)}\n" for address in judged)
    return _script((("egress", "output"),), rules, chains)


async def apply(namespace: str, script: str) -> None:
    """Put a script in force in a network namespace, all of it or nothing. Raises `NetworkError`."""
    await _nft(namespace, "-f", "-", stdin=script)


async def obstacle(subnet: Subnet) -> str:
    """Why this machine cannot filter packets as these rules want; empty where it can. Tries, and changes nothing."""
    everything = Allowance((Block("10.0.0.0/8", ("10.1.0.0/16",)), Block("0.0.0.0/0")), (PortRange("tcp", 80, 90),))
    try:
        script = pod_script(subnet.address(2), Isolation((everything,), (everything,)), subnet)
        await _nft(subnet.name, "-c", "-f", "-", stdin=script)
    except (NetworkError, OSError) as error:
        return f"this machine cannot filter packets (Debian package nftables): {error}"
    return ""


async def dropped(subnet: Subnet) -> set[Drop]:
    """What was dropped within the last hour, in any pod's namespace or in the switch. Senders are pods' own addresses.

    A namespace in which nothing is judged has dropped nothing.
    """
    places = (subnet.name, *(subnet.namespace(address) for address in pod_addresses(subnet)))
    found: set[Drop] = set()
    for place in places:
        with contextlib.suppress(NetworkError):  # there is no table
            told = json.loads(await _nft(place, "-j", "list", "set", *TABLE.split(), DROPPED))
            entries = next(one["set"].get("elem") or [] for one in told["nftables"] if "set" in one)
            for sender, receiver, protocol, port in (entry["elem"]["val"]["concat"] for entry in entries):
                found.add(Drop(subnet.own(sender), receiver, str(protocol), int(port)))
    return found


async def _nft(namespace: str, *words: str, stdin: str = "") -> str:
    return await run_command("nsenter", f"--net={NAMESPACES / namespace}", "nft", *words, stdin=stdin)


def _script(bases: Iterable[tuple[str, str]], rules: Iterable[str], chains: str = "") -> str:
    """A table with these chains at the kernel's hooks. What it has dropped is remembered across changes."""
    fields = f"type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags dynamic,timeout; {REMEMBERED};"
    hooked = "".join(
        f"add chain {TABLE} {name} {{ type filter hook {hook} priority 0; policy accept; }}\n" for name, hook in bases
    )
    head = f"add table {TABLE}\nadd set {TABLE} {DROPPED} {{ {fields} }}\n{hooked}{chains}flush table {TABLE}\n"
    return head + "\n".join(rules) + "\n"


def _chain(name: str, rules: Iterable[str]) -> list[str]:
    return [f"add rule {TABLE} {name} {rule}" for rule in rules]


def _chain_of(address: str) -> str:
    return f"pod{address.rpartition('.')[2]}"


def _accepting(allowances: Iterable[Allowance], peer: str) -> Iterator[str]:
    """Rules that let pass what one of the allowances covers; `peer` is how nft names the other end's address."""
    for allowance in dict.fromkeys(allowances):
        for to_ports in _port_matches(allowance.ports):
            for at_peer in _peer_matches(allowance.blocks, peer):
                yield f"{at_peer}{to_ports}accept"


def _peer_matches(blocks: tuple[Block, ...] | None, peer: str) -> Iterator[str]:
    if blocks is None:
        yield ""
        return
    whole = [block.network for block in blocks if not block.excepted]
    if any(network.endswith("/0") for network in whole):
        yield "meta nfproto ipv4 "
    elif whole:
        yield f"{peer} {_set(_without_overlaps(whole))} "
    for block in blocks:
        if block.excepted:
            within = "" if block.network.endswith("/0") else f"{peer} {_set(_without_overlaps([block.network]))} "
            yield f"{within}{peer} != {_set(_without_overlaps(block.excepted))} "


def _port_matches(ports: tuple[PortRange, ...] | None) -> Iterator[str]:
    if ports is None:
        yield ""
        return
    for protocol in sorted({port.protocol for port in ports}):
        own = [port for port in ports if port.protocol == protocol]
        if any((port.first, port.last) == (0, LAST_PORT) for port in own):
            yield f"meta l4proto {protocol} "
        else:
            yield f"{protocol} dport {_set(_spans(own))} "


def _without_overlaps(networks: Iterable[str]) -> list[str]:
    """The same addresses in as few networks as possible: nft refuses a set whose members overlap."""
    merged = collapse_addresses(IPv4Network(one, strict=False) for one in networks)
    return [str(one).removesuffix("/32") for one in merged]


def _spans(ports: Iterable[PortRange]) -> list[str]:
    """The numbers of some ports of one protocol, without overlaps."""
    spans: list[tuple[int, int]] = []
    for port in sorted(ports):
        if spans and port.first <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(spans[-1][1], port.last))
        else:
            spans.append((port.first, port.last))
    return [str(first) if first == last else f"{first}-{last}" for first, last in spans]


def _set(members: Iterable[str]) -> str:
    return f"{{ {', '.join(members)} }}"
