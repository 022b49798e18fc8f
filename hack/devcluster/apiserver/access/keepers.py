"""Keeps what access needs in step with the stored objects: the authority in each namespace, the certificate's names.

After kube-controller-manager's root-ca-publisher. It follows the store and works one turn of the loop later: a write
must not be answered by another write before all have heard of it.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Iterator

from devcluster.apiserver import writes
from devcluster.apiserver.access.certificates import ServingTls
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.objects import JsonObject, is_terminating, metadata
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.store import Event, Key

_LOG = logging.getLogger(__name__)
_OPTIONS = WriteOptions(field_manager="kube-controller-manager")
_NAMESPACES, _CONFIG_MAPS, _SERVICES = "/namespaces", "/configmaps", "/services"
_SLICES = "discovery.k8s.io/endpointslices"

ROOT_AUTHORITY = "kube-root-ca.crt"
"""The ConfigMap of every namespace that holds the authority's certificate."""


class Keepers:
    """Runs until cancelled."""

    def __init__(self, cluster: Cluster, tls: ServingTls) -> None:
        self._cluster = cluster
        self._tls = tls
        self._authority = tls.certificates.authority.read_text()
        self._stale: dict[str, None] = {}
        self._wake = asyncio.Event()

    def start(self) -> asyncio.Task[None]:
        """Catch up with what is stored, follow the store from now on, and return the running task."""
        for namespace in self._cluster.store.list(_NAMESPACES):
            self._keep_authority(namespace.key.name)
        self._keep_names()
        self._cluster.store.listen(self._observe)
        return asyncio.create_task(self._run(), name="keepers")

    def _observe(self, event: Event) -> None:
        key = event.entry.key
        if key.storage == _NAMESPACES:
            self._stale[key.name] = None
        elif key.storage == _CONFIG_MAPS and key.name == ROOT_AUTHORITY:
            self._stale[key.namespace] = None
        elif key.storage in (_SERVICES, _SLICES) and key.namespace == "default":
            self._stale[""] = None
        else:
            return
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            stale, self._stale = self._stale, {}
            for count, namespace in enumerate(stale):
                try:
                    self._visit(namespace)
                except Exception:  # The boundary: a bug met at one place is logged, and the others are still kept.
                    _LOG.exception("the keepers failed at %r", namespace)
                if count % 50 == 49:
                    await asyncio.sleep(0)

    def _visit(self, namespace: str) -> None:
        if namespace:
            self._keep_authority(namespace)
        else:
            self._keep_names()

    def _keep_authority(self, namespace: str) -> None:
        """Have the authority's certificate in a namespace, unless that is going away."""
        store, resource = self._cluster.store, self._cluster.registry.find("", "v1", "configmaps")
        entry = store.get(Key(_NAMESPACES, "", namespace))
        if resource is None or entry is None or is_terminating(entry.document):
            return
        present = store.get(resource.key(namespace, ROOT_AUTHORITY))
        data = {"ca.crt": self._authority}
        target = Target(resource, namespace, ROOT_AUTHORITY)
        try:
            if present is None:
                target, document = Target(resource, namespace), {"metadata": {"name": ROOT_AUTHORITY}, "data": data}
                writes.create(self._cluster, target, document, _OPTIONS)
            elif present.document.get("data") != data:
                writes.modify(self._cluster, target, lambda live: {**live, "data": data}, _OPTIONS)
        except StatusError as error:
            _LOG.warning("%s in %s: %s", ROOT_AUTHORITY, namespace, error)

    def _keep_names(self) -> None:
        """Have the serving certificate hold every address of the Service `default/kubernetes`."""
        service = self._cluster.store.get(Key(_SERVICES, "default", "kubernetes"))
        slices = [entry.document for entry in self._cluster.store.list(_SLICES, "default")]
        self._tls.cover(set(_service_addresses(service.document if service else None, slices)))


def _service_addresses(service: JsonObject | None, slices: list[JsonObject]) -> Iterator[str]:
    """The cluster addresses of the Service and the addresses behind it, as far as they are addresses."""
    found = (service or {}).get("spec", {}).get("clusterIPs") or []
    for one in slices:
        if (metadata(one).get("labels") or {}).get("kubernetes.io/service-name") == "kubernetes":
            found = [*found, *(address for end in one.get("endpoints") or () for address in end.get("addresses") or ())]
    for address in found:
        try:
            yield str(ipaddress.ip_address(address))
        except ValueError:
            continue
