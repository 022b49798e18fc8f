"""Pods that answer HTTP with their names, Services before them, and those who ask."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import ClassVar

import aiohttp
from kubelet_team import Team, eventually, ready

from devcluster.client import NODES, PODS, SERVICES, AlreadyExists, Client
from devcluster.kubelet import network
from devcluster.services.addresses import PROTOCOL

NAMED = """
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/ready":
            self.send_error(503) if os.path.exists("/tmp/unready") else self.say(b"yes")
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.1)
            self.close_connection = True
        else:
            self.say(os.environ["NAME"].encode())
    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""

READINESS = {
    "httpGet": {"path": "/ready", "port": "http"},
    "periodSeconds": 1,
    "timeoutSeconds": 10,  # a busy machine is no failure
    "failureThreshold": 1,
}


def pod_body(name, labels, port, container=None, **spec):
    """A Pod with one container that answers with the pod's name."""
    main = {
        "name": "main",
        "image": "any",
        "command": ["python", "-c", NAMED],
        "env": [{"name": "NAME", "value": name}, {"name": "PORT", "value": str(port)}],
        "ports": [{"name": "http", "containerPort": port}],
        **(container or {}),
    }
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [main], **spec}}


async def make_service(client, namespace, name, *, selector, **spec):
    """Make a Service on port 80 of the pods' port `http`; returns its address."""
    ports = [{"port": 80, "targetPort": "http"}]
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
    made = await client.create(SERVICES, namespace, {**body, "spec": {"selector": selector, "ports": ports, **spec}})
    address = made["spec"]["clusterIP"]

    async def known():
        return address == "None" or address in await routes()

    await eventually(known, 5)  # until then a request would leave this machine
    return address


async def routes():
    """The addresses of Services that this machine has ways to."""
    return {route["dst"] for route in json.loads(await ip("-j", "route", "show", "proto", PROTOCOL) or b"[]")}


async def ip(*words):
    """What the command of that name prints."""
    process = await asyncio.create_subprocess_exec("ip", *words, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, words
    return output


@dataclass
class Web:
    """Pods and Services of one namespace, run by a kubelet."""

    team: Team

    async def pod(self, name, *, labels, port=8000, container=None, **spec):
        """Start a pod that stops within a second; returns its status once it is ready."""
        spec = {"terminationGracePeriodSeconds": 1, **spec}
        body = pod_body(name, labels, port, {"readinessProbe": READINESS, **(container or {})}, **spec)
        await self.team.client.create(PODS, self.team.namespace, body)
        return await self.team.until(name, ready)

    async def service(self, name, *, selector, **spec):
        """Make a Service; returns its address."""
        return await make_service(self.team.client, self.team.namespace, name, selector=selector, **spec)


@dataclass
class BareWeb:
    """The same without a kubelet: servers in network namespaces, and Pods of which the test says what they are."""

    client: Client
    namespace: str
    subnet: network.Subnet
    _servers: dict = field(default_factory=dict)
    _last: ClassVar = itertools.count(2)  # never one again: its neighbours would look for the pod that had it

    async def pod(self, name, *, labels, port=8000, ready=True):
        """Start a server and tell of it as a Pod of node `bare` once it listens; returns its address."""
        address = self.subnet.address(next(self._last))
        await network.connect_pod(self.subnet, address)
        server = self.run(address, "-c", NAMED, NAME=name, PORT=str(port))
        self._servers[address] = server
        await self.client.create(PODS, self.namespace, pod_body(name, labels, port, nodeName="bare"))
        await eventually(lambda: listens(address, port), 20)
        await self.tell(name, ready=ready, podIP=address)
        return address

    def run(self, address, *words, **environment):
        """Start Python in the network namespace of an address."""
        command = ["ip", "netns", "exec", self.subnet.namespace(address), sys.executable, *words]
        return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)

    async def tell(self, name, *, ready=True, **status):
        """Write what a kubelet would about a Pod."""
        conditions = [{"type": "Ready", "status": str(ready)}]
        body = {"status": {"phase": "Running", "conditions": conditions, **status}}
        await self.client.patch(PODS, self.namespace, name, body, subresource="status")

    async def service(self, name, *, selector, **spec):
        """Make a Service; returns its address."""
        return await make_service(self.client, self.namespace, name, selector=selector, **spec)

    async def clean_up(self):
        """End every server and free its address."""
        for address, server in self._servers.items():
            server.kill()
            server.communicate()
            await network.disconnect_pod(self.subnet, address)
        pods, _ = await self.client.list(PODS, self.namespace)
        for pod in pods:
            await self.client.delete(PODS, self.namespace, pod["metadata"]["name"], grace_seconds=0)


async def declare_node(client):
    """A node that exists, so that deleted Pods wait for its kubelet."""
    try:
        await client.create(NODES, None, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bare"}})
    except AlreadyExists:
        return


async def listens(address, port):
    """Whether a server takes connections there."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def ask(address, path="/"):
    """One request on a connection of its own."""
    timeout = aiohttp.ClientTimeout(total=5)
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        session.get(f"http://{address}{path}") as answer,
    ):
        return await answer.text()


async def answers(address, times):
    """What so many requests after each other are answered with."""
    return [await ask(address) for _ in range(times)]


async def answers_by(address, names):
    """Wait until exactly these pods answer; connections may be refused until then."""

    async def right():
        try:
            return set(await answers(address, 2 * len(names))) == set(names)
        except aiohttp.ClientError:
            return False

    await eventually(right, 10)
