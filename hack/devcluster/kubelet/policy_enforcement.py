"""Keeps every pod's packet filter as the NetworkPolicies say, as a network plugin does. A thin shell.

It watches policies and namespaces, hears of pods from the kubelet, and works on everything at once, soon after any
change. While no policy selects a pod nothing is written for it. A pod's rules, and those of pods that may talk to
it, stand before its first container starts (`admit`).

What differs from a real cluster: this machine may always reach every pod, as the node of a pod may anywhere; towards
this machine the rules hold, since what listens here stands for what is outside of a cluster (API server, object
stores). Names need no DNS server here, so a policy that forgets to allow one does no harm here (`hosts`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any

from devcluster.cache import Cache
from devcluster.client import NAMESPACES, NETWORK_POLICIES, Client
from devcluster.kubelet import network, packet_filter
from devcluster.kubelet.events import Event, EventRecorder
from devcluster.kubelet.network import NetworkError
from devcluster.kubelet.network_policies import Isolation, Pod, Snapshot, isolations, named_ports, problem
from devcluster.kubelet.sandbox import Sandbox, Sandboxes

logger = logging.getLogger(__name__)

Object = dict[str, Any]

GATHER_SECONDS = 0.05
RETRY_SECONDS = 5.0
AT_ONCE = 4
"""Runs of nft at a time."""
SWITCH = "switch"
"""Stands for the switch where pods stand by their uids."""


class PolicyEnforcement:
    """Enforces the policies of one API server in the sandboxes of one kubelet. `touch` is for changes of pods.

    `nodes` are the names of this kubelet's; pods elsewhere are known by the address in their status.
    """

    def __init__(
        self, client: Client, recorder: EventRecorder, sandboxes: Sandboxes, pods: Cache, nodes: Collection[str]
    ) -> None:
        self._recorder = recorder
        self._sandboxes = sandboxes
        self._pods = pods
        self._nodes = nodes
        self._policies = Cache(client, NETWORK_POLICIES, on_change=self._on_change)
        self._namespaces = Cache(client, NAMESPACES, on_change=self._on_change)
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._in_force: dict[str, str] = {}
        self._unknown = {SWITCH, *sandboxes.known}  # an earlier kubelet may have left rules there
        self._seen: tuple[Snapshot, frozenset[str]] | None = None
        self._obstacle: str | None = None
        self._told: set[tuple[str, str]] = set()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the API server while inside."""
        async with self._policies, self._namespaces:
            yield

    def touch(self) -> None:
        """Look again soon; returns at once."""
        self._wake.set()

    def _on_change(self, _kind: str, _obj: Object) -> None:
        self.touch()

    async def run(self) -> None:
        """Enforce for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            await self._settle()

    async def admit(self, uid: str) -> None:
        """Return once the rules about a pod that has its sandbox are in force.

        Raises `NetworkError` where that is not possible, so that its containers do not start.
        """
        failures = await self._settle()
        if uid in failures:
            raise failures[uid]

    async def _settle(self) -> dict[str, NetworkError]:
        """Bring everything up to date; returns what failed, which is tried again by itself."""
        await asyncio.gather(*(cache.synced.wait() for cache in (self._policies, self._namespaces, self._pods)))
        async with self._one_at_a_time:
            snapshot = self._snapshot()
            now = snapshot, frozenset(self._sandboxes.known)
            if now == self._seen or (snapshot.policies and not await self._able()):
                return {}
            failures = await self._apply(_scripts(isolations(snapshot), self._sandboxes))
            self._seen = None if failures else now
            if failures:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self.touch)
            return failures

    def _snapshot(self) -> Snapshot:
        labels = {name: one["metadata"].get("labels") or {} for (_, name), one in self._namespaces.objects.items()}
        policies = tuple(one for one in self._policies.objects.values() if self._readable(one))
        return Snapshot(policies, tuple(self._known_pods()) if policies else (), labels if policies else {})

    def _known_pods(self) -> Iterator[Pod]:
        for (namespace, _), pod in self._pods.objects.items():
            sandbox = self._sandboxes.known.get(pod["metadata"]["uid"])
            status = pod.get("status") or {}
            address = sandbox.address if sandbox else ""
            if pod["spec"].get("nodeName") not in self._nodes and status.get("phase") == "Running":
                address = status.get("podIP") or ""
            if address:
                yield Pod(namespace, address, pod["metadata"].get("labels") or {}, named_ports(pod))

    def _readable(self, policy: Object) -> bool:
        complaint = problem(policy)
        if complaint:
            self._tell(policy, "Invalid", f"the dev cluster ignores this policy: {complaint}")
        return not complaint

    async def _able(self) -> bool:
        """Whether this machine can filter packets; else each policy and the log are told."""
        if self._obstacle is None:
            self._obstacle = await packet_filter.obstacle(self._sandboxes.subnet)
            if self._obstacle:
                logger.error("NetworkPolicies are NOT enforced: %s", self._obstacle)
        for policy in self._policies.objects.values() if self._obstacle else ():
            self._tell(policy, "NotEnforced", f"the dev cluster does not enforce this policy: {self._obstacle}")
        return not self._obstacle

    def _tell(self, policy: Object, reason: str, message: str) -> None:
        """Record an event about a policy, once for each reason."""
        if (policy["metadata"]["uid"], reason) not in self._told:
            self._told.add((policy["metadata"]["uid"], reason))
            described = {**policy, "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
            self._recorder.record(described, Event("Warning", reason, message))

    async def _apply(self, scripts: dict[str, str]) -> dict[str, NetworkError]:
        """Put in force what is not yet; returns what failed by its key in `scripts`."""
        self._in_force = {key: text for key, text in self._in_force.items() if key in scripts}
        todo = [key for key, text in scripts.items() if key in self._unknown or text != self._in_force.get(key, "")]
        gate = asyncio.Semaphore(AT_ONCE)

        async def write(key: str) -> NetworkError | None:
            async with gate:
                return await self._write(key, scripts[key])

        errors = dict(zip(todo, await asyncio.gather(*(write(key) for key in todo)), strict=True))
        return {key: error for key, error in errors.items() if error is not None}

    async def _write(self, key: str, script: str) -> NetworkError | None:
        """Put one script in force; an error where that fails and somebody could be harmed by it."""
        subnet = self._sandboxes.subnet
        sandbox = self._sandboxes.known.get(key)
        if sandbox is None and key != SWITCH:
            return None
        try:
            await packet_filter.apply(_namespace(sandbox, subnet), script or packet_filter.NOTHING)
        except (NetworkError, OSError) as error:
            if key in self._unknown and not script:  # nothing was there either, or nft is not
                logger.info("old rules of %s: %s", key, error)
            elif sandbox is not None and not network.connected(subnet, sandbox.address):
                return None  # the pod is just going
            else:
                logger.error("the packet filter of %s: %s; trying again", sandbox.name if sandbox else key, error)  # noqa: TRY400 - the command's own words say it all
                return NetworkError(f"its packet filter: {error}")
        self._unknown.discard(key)
        self._in_force[key] = script
        return None


def _namespace(sandbox: Sandbox | None, subnet: network.Subnet) -> str:
    """The network namespace of a pod, or of the switch."""
    return subnet.namespace(sandbox.address) if sandbox else subnet.name


def _scripts(isolated: dict[str, Isolation], sandboxes: Sandboxes) -> dict[str, str]:
    """What nft has to be told for each sandbox and for the switch; nothing where nothing is judged."""
    subnet = sandboxes.subnet

    def of(address: str) -> str:
        return packet_filter.pod_script(address, isolated[address], subnet) if address in isolated else ""

    scripts = {uid: of(sandbox.address) for uid, sandbox in sandboxes.known.items()}
    return {SWITCH: packet_filter.switch_script(isolated, subnet), **scripts}
