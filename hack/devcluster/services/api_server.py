"""The Service `default/kubernetes`, by which pods find the API server, and the endpoint behind it.

A real API server writes these itself. Ours does not know the address by which pods reach this machine; this program
does, and the server's `serving.json` says at which port it speaks TLS. The objects are pure, `Publisher` writes them.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import aiohttp

from devcluster.client import ENDPOINT_SLICES, ENDPOINTS, SERVICES, AlreadyExists, ApiError, Client, Resource
from devcluster.services.endpoints import SERVICE_LABEL

logger = logging.getLogger(__name__)

Object = dict[str, Any]

NAMESPACE, NAME = "default", "kubernetes"
PORT = 443
LOOK_AGAIN_SECONDS = 5.0


def objects(address: str, port: int) -> list[tuple[Resource, Object]]:
    """What leads pods to the API server that speaks TLS at this address and port, as a real one writes it."""
    labels = {"component": "apiserver", "provider": "kubernetes"}
    spec = {"type": "ClusterIP", "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": port}]}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    subset = {"addresses": [{"ip": address}], "ports": ports}
    endpoint = {"addresses": [address], "conditions": {"ready": True}}
    return [
        (SERVICES, _named("v1", "Service", labels) | {"spec": spec}),
        (
            ENDPOINTS,
            _named("v1", "Endpoints", {"endpointslice.kubernetes.io/skip-mirror": "true"}) | {"subsets": [subset]},
        ),
        (
            ENDPOINT_SLICES,
            _named("discovery.k8s.io/v1", "EndpointSlice", {SERVICE_LABEL: NAME})
            | {"addressType": "IPv4", "endpoints": [endpoint], "ports": ports},
        ),
    ]


def _named(api_version: str, kind: str, labels: dict[str, str]) -> Object:
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


class Publisher:
    """Keeps the objects in step with the file `serving`, which changes when the server takes another port."""

    def __init__(self, client: Client, serving: Path, address: str) -> None:
        self._client = client
        self._serving = serving
        self._address = address
        self._published: int | None = None

    async def run(self) -> None:
        """Look at the file now and then, for ever."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            await self.publish()

    async def publish(self) -> None:
        """Write the objects if the server has told of another port; a failure is logged, and tried again later."""
        try:
            port = json.loads(self._serving.read_text())["tls_port"]
            if port == self._published:
                return
            for resource, body in objects(self._address, port):
                await self._write(resource, body)
        except (FileNotFoundError, ValueError, KeyError) as error:
            logger.warning("where the API server speaks TLS is not known yet: %s", error)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            logger.warning("the Service %s/%s: %s; trying again", NAMESPACE, NAME, error)
        else:
            self._published = port

    async def _write(self, resource: Resource, body: Object) -> None:
        try:
            await self._client.create(resource, NAMESPACE, body)
        except AlreadyExists:
            await self._client.patch(resource, NAMESPACE, NAME, body)
