"""The pods' network: a switch of its own for each dev cluster, a network namespace and an address for each pod.

Each dev cluster takes a /24 of 10.77.0.0/16 and remembers it in its state folder. The name of its link on the
host holds the third byte of the addresses, so that making the link is what claims the /24: two clusters that
start at once cannot both succeed. The host has the .1 address and reaches every pod; pods reach the host and
each other, and nothing else: there is no forwarding, and the default route only exists so that programs find out
their own address by it. An address that cannot be reached is refused within seconds. What NetworkPolicies forbid is
dropped in the pods' namespaces (`packet_filter`).

The bridge stands in a namespace of its own, cabled to the host, and not on the host: there, the firewall rules of
a container engine would drop what one pod sends another.
"""

import asyncio
import contextlib
import json
import zlib
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

FIRST_TWO_BYTES = "10.77"
STAND_IN_BYTES = "10.79"
"""Of the addresses by which the proxy of Services speaks for its clients; they differ in one bit from `10.77`."""
STAND_IN_MASK = "255.253.255.255"
"""Takes that bit away: what is left of a stand-in address is its pod's own."""
NAMESPACES = Path("/run/netns")
SWITCH = "switch"
"""The bridge's name inside the switch's namespace."""
POD_SYSCTLS = {"net/ipv4/neigh/eth0/retrans_time_ms": "250", "net/ipv4/ip_unprivileged_port_start": "0"}


class NetworkError(Exception):
    """A network command failed; the message is the command's own."""


async def run_command(*words: str, stdin: str = "") -> str:
    """Run a command of the system and return what it printed. Raises `NetworkError` with what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate(stdin.encode() or None)
    if process.returncode:
        raise NetworkError(f"{' '.join(words)}: {complaint.decode(errors='replace').strip()}")
    return output.decode()


@dataclass(frozen=True)
class Subnet:
    """One dev cluster's /24, named by the third byte of its addresses."""

    third: int

    @property
    def name(self) -> str:
        """The name of the host's link, which is the claim to the /24, and of the switch's network namespace."""
        return f"tmd{self.third}"

    @property
    def host_address(self) -> str:
        """The address pods reach this machine by."""
        return f"{FIRST_TWO_BYTES}.{self.third}.1"

    def address(self, last: int) -> str:
        """The pod address with that last byte."""
        return f"{FIRST_TWO_BYTES}.{self.third}.{last}"

    def stand_in(self, address: str) -> str:
        """The address by which the proxy of Services speaks for the pod, or for the host, of that address."""
        return f"{STAND_IN_BYTES}.{self.third}.{address.rpartition('.')[2]}"

    def own(self, address: str) -> str:
        """The address that a stand-in stands for; another address as it is."""
        prefix = f"{STAND_IN_BYTES}.{self.third}."
        return self.address(int(address.removeprefix(prefix))) if address.startswith(prefix) else address

    def holds(self, address: str) -> bool:
        """Whether an address is the host's or a pod's in this /24."""
        return address.startswith(f"{FIRST_TWO_BYTES}.{self.third}.")

    def namespace(self, address: str) -> str:
        """The name of the network namespace of the pod of that address, as `ip netns` shows it."""
        return f"{self.name}-{address.rpartition('.')[2]}"


async def claim_subnet(state: Path) -> Subnet:
    """The /24 of the cluster that lives in `state`: the one it has, or a free one, its switch up.

    Raises `NetworkError` where network namespaces are not to be had or every /24 is taken.
    """
    taken = _taken(json.loads(await run_command("ip", "-j", "address", "show") or "[]"))
    owner = _owner(state)
    remembered = _remembered(state)
    preferred = remembered if remembered is not None else zlib.crc32(owner.encode()) % 256
    for third in ((preferred + step) % 256 for step in range(256)):
        subnet = Subnet(third)
        owned = _owned(subnet, state)
        if owned and _namespace_file(subnet.name).exists():
            return _remember(state, subnet)
        if owned:  # an earlier kubelet was killed while it made the switch
            await run_command("ip", "link", "delete", subnet.name)
        if (owned or third not in taken) and await _create_switch(subnet, owner):
            return _remember(state, subnet)
    raise NetworkError(f"every /24 of {FIRST_TWO_BYTES}.0.0/16 is taken on this machine")


def _remembered(state: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((state / "subnet").read_text().split(".")[2])
    return None


def _remember(state: Path, subnet: Subnet) -> Subnet:
    (state / "subnet").write_text(f"{subnet.address(0)}/24\n")
    return subnet


def _owner(state: Path) -> str:
    """What the alias of the host's link says, so that a cluster knows its own again."""
    return f"devcluster {state.resolve()}"[-255:]


def _owned(subnet: Subnet, state: Path) -> bool:
    alias = Path("/sys/class/net", subnet.name, "ifalias")
    return alias.exists() and alias.read_text().strip() == _owner(state)


def _taken(links: list[dict[str, list[dict[str, str]]]]) -> set[int]:
    """The third bytes of 10.77.0.0/16 and of the stand-ins' that some network of this machine already uses."""
    ours = [ip_network(f"{first_two}.0.0/16") for first_two in (FIRST_TWO_BYTES, STAND_IN_BYTES)]
    taken: set[int] = set()
    for link in links:
        for entry in link.get("addr_info", []):
            if entry.get("family") == "inet" and any(ip_address(entry["local"]) in network for network in ours):
                taken.add(int(entry["local"].split(".")[2]))
    return taken


async def _create_switch(subnet: Subnet, owner: str) -> bool:
    """Make the switch and cable it to the host; False where another cluster holds this /24."""
    name, uplink = subnet.name, f"{subnet.name}up"
    try:
        await run_command("ip", "link", "add", name, "type", "veth", "peer", "name", uplink)
    except NetworkError as error:
        if "File exists" in str(error):
            return False
        raise
    await run_command("ip", "link", "set", name, "alias", owner)
    await _delete_namespace(name)
    await run_command("ip", "netns", "add", name)
    on_the_host = (
        f"link set {uplink} netns {name}\naddress add {subnet.host_address}/24 dev {name}\nlink set {name} up\n"
    )
    inside = f"link add {SWITCH} type bridge\nlink set {uplink} master {SWITCH} up\nlink set {SWITCH} up\n"
    await run_command("ip", "-batch", "-", stdin=on_the_host)
    await run_command("ip", "-n", name, "-batch", "-", stdin=inside)
    return True


async def connect_pod(subnet: Subnet, address: str) -> str:
    """Make the network namespace of a pod and cable it to the switch; returns the namespace's file."""
    name, port = subnet.namespace(address), _port(address)
    await disconnect_pod(subnet, address)
    await run_command("ip", "netns", "add", name)
    at_the_switch = f"link add {port} type veth peer name eth0 netns {name}\nlink set {port} master {SWITCH} up\n"
    inside = f"link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\nroute add default dev eth0\n"
    await run_command("ip", "-n", subnet.name, "-batch", "-", stdin=at_the_switch)
    await run_command("ip", "-n", name, "-batch", "-", stdin=inside)
    settings = "; ".join(f"echo {value} > /proc/sys/{key}" for key, value in POD_SYSCTLS.items())
    with contextlib.suppress(NetworkError):  # settings of comfort: an older kernel may lack one
        await run_command("ip", "netns", "exec", name, "sh", "-c", settings)
    return str(_namespace_file(name))


async def disconnect_pod(subnet: Subnet, address: str) -> None:
    """Remove a pod's network namespace and cable, if there."""
    if _namespace_file(subnet.name).exists():
        with contextlib.suppress(NetworkError):  # there is no such cable
            await run_command("ip", "-n", subnet.name, "link", "delete", _port(address))
    await _delete_namespace(subnet.namespace(address))


async def _delete_namespace(name: str) -> None:
    if _namespace_file(name).exists():
        with contextlib.suppress(NetworkError):  # another is just doing the same
            await run_command("ip", "netns", "delete", name)


def _port(address: str) -> str:
    """The switch's end of the cable to the pod of that address."""
    return f"pod{address.rpartition('.')[2]}"


def _namespace_file(name: str) -> Path:
    return NAMESPACES / name


def connected(subnet: Subnet, address: str) -> bool:
    """Whether the pod's namespace and the switch are still there (a reboot takes both)."""
    return all(_namespace_file(name).exists() for name in (subnet.name, subnet.namespace(address)))


def pod_addresses(subnet: Subnet) -> set[str]:
    """The addresses for which a namespace of this cluster exists."""
    prefix = f"{subnet.name}-"
    names = [path.name for path in NAMESPACES.iterdir()] if NAMESPACES.is_dir() else []
    return {subnet.address(int(name.removeprefix(prefix))) for name in names if name.startswith(prefix)}


def subnet_of(state: Path) -> Subnet | None:
    """The /24 that the cluster in `state` holds now; None if it holds none."""
    third = _remembered(state)
    if third is None or not _owned(Subnet(third), state):
        return None
    return Subnet(third)


async def remove_subnet(state: Path) -> None:
    """Remove every namespace, cable and the switch of the cluster that lives in `state`."""
    subnet = subnet_of(state)
    if subnet is None:
        return
    for address in pod_addresses(subnet):
        await disconnect_pod(subnet, address)
    await _delete_namespace(subnet.name)
    with contextlib.suppress(NetworkError):  # it goes with its other end, which may be now
        await run_command("ip", "link", "delete", subnet.name)
    (state / "subnet").unlink(missing_ok=True)
