"""NetworkPolicies, and pods that try to reach each other, for tests of the dev cluster's enforcement."""

import asyncio
import contextlib
import http.client
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kubelet_team import eventually
from web_pods import Web

from devcluster.client import NETWORK_POLICIES
from devcluster.kubelet import network, packet_filter
from devcluster.kubelet import system_calls as calls


@dataclass
class Neighbours:
    """Pods of one namespace, and the policies about them."""

    web: Web

    @property
    def subnet(self):
        return network.subnet_of(self.web.team.kubelet.state)

    async def pod(self, name, port=8000, **labels):
        """Start a pod that answers on a port and is labelled with its name; returns its address."""
        return (await self.web.pod(name, port=port, labels={"app": name, **labels}))["podIP"]

    async def allow(self, name, **spec):
        """Make a NetworkPolicy; without rules it allows nothing."""
        body = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}}
        team = self.web.team
        return await team.client.create(NETWORK_POLICIES, team.namespace, {**body, "spec": {"podSelector": {}, **spec}})

    async def forget(self, name):
        """Delete a NetworkPolicy."""
        await self.web.team.client.delete(NETWORK_POLICIES, self.web.team.namespace, name)

    @contextlib.contextmanager
    def inside(self, address):
        """A thread whose sockets are in the network of the pod of that address."""

        def enter():
            calls.enter_namespace(str(network.NAMESPACES / self.subnet.namespace(address)), calls.CLONE_NEWNET)

        with ThreadPoolExecutor(1, initializer=enter) as thread:
            yield thread

    async def answer(self, sender, receiver, port=8000, seconds=1.0):
        """What a pod is answered by another; empty where no answer comes in time."""
        with self.inside(sender) as thread:
            return await asyncio.get_running_loop().run_in_executor(thread, _ask, receiver, port, seconds)

    async def reached(self, sender, receiver, port=8000):
        """Wait until one pod is answered by the other."""
        await eventually(lambda: self.answer(sender, receiver, port, seconds=5), 20)

    async def kept_away(self, sender, receiver, port=8000, judged=None):
        """Wait until one pod gets no answer from the other, for the reason that a filter dropped what it sent.

        `judged` is the pod whose packets the filters see, where that is not `receiver`: the one behind a Service.
        """

        async def unanswered():
            return not await self.answer(sender, receiver, port)

        await eventually(unanswered, 20)
        await eventually(lambda: self._dropped(sender, *(judged or (receiver, port))), 5)

    async def _dropped(self, sender, receiver, port):
        return packet_filter.Drop(sender, receiver, "tcp", port) in await packet_filter.dropped(self.subnet)


def _ask(receiver, port, seconds):
    connection = http.client.HTTPConnection(receiver, port, timeout=seconds)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
