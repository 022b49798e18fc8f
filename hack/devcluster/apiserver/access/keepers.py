"""Keeps what access needs in step with the stored objects.

The authority's certificate in each namespace, the rules of aggregated ClusterRoles, the names in the serving
certificate; and at the start, the roles that every cluster has. After kube-controller-manager's root-ca-publisher and
clusterrole-aggregation-controller, and kube-apiserver's rbac/bootstrap-roles hook. It follows the store and works one
turn of the loop later: a write must not be answered by another write before all have heard of it.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Iterator
from functools import partial

from devcluster.apiserver import writes
from devcluster.apiserver.access import policy
from devcluster.apiserver.access.aggregation import aggregated_rules
from devcluster.apiserver.access.authorizer import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from devcluster.apiserver.access.certificates import ServingTls
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.objects import JsonObject, is_terminating, metadata
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.store import Event, Key

_LOG = logging.getLogger(__name__)
_OPTIONS = WriteOptions(field_manager="kube-controller-manager")
_NAMESPACES, _SERVICES, _SLICES = "/namespaces", "/services", "discovery.k8s.io/endpointslices"
_POLICY_FIELDS = ("rules", "aggregationRule", "subjects")
_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
# What is stale where no single namespace is: all names of the certificate, all aggregated roles.
_NAMES, _ROLES = Key(_SERVICES, "default", "kubernetes"), Key(CLUSTER_ROLES, "", "")

ROOT_AUTHORITY = "kube-root-ca.crt"
"""The ConfigMap of every namespace that holds the authority's certificate."""


class Keepers:
    """Runs until cancelled."""

    def __init__(self, cluster: Cluster, tls: ServingTls) -> None:
        self._cluster = cluster
        self._tls = tls
        self._authority = tls.certificates.authority.read_text()
        self._stale: dict[Key, None] = {}
        self._wake = asyncio.Event()

    def start(self) -> asyncio.Task[None]:
        """Catch up with what is stored, follow the store from now on, and return the running task."""
        for storage, documents in (
            (CLUSTER_ROLES, policy.cluster_roles()),
            (CLUSTER_ROLE_BINDINGS, policy.cluster_role_bindings()),
        ):
            for document in documents:
                self._keep_policy(storage, document)
        self._keep_roles()
        for namespace in self._cluster.store.list(_NAMESPACES):
            self._keep_authority(namespace.key.name)
        self._keep_names()
        self._cluster.store.listen(self._observe)
        return asyncio.create_task(self._run(), name="keepers")

    def _observe(self, event: Event) -> None:
        key = event.entry.key
        match key.storage:
            case "/namespaces":
                self._stale[key] = None
            case "/configmaps" if key.name == ROOT_AUTHORITY:
                self._stale[Key(_NAMESPACES, "", key.namespace)] = None
            case "/services" | "discovery.k8s.io/endpointslices" if key.namespace == "default":
                self._stale[_NAMES] = None
            case "rbac.authorization.k8s.io/clusterroles":
                self._stale[_ROLES] = None
            case _:
                return
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            stale, self._stale = self._stale, {}
            for count, key in enumerate(stale):
                try:
                    self._visit(key)
                except Exception:  # The boundary: a bug met at one place is logged, and the others are still kept.
                    _LOG.exception("the keepers failed at %s", key)
                if count % 50 == 49:
                    await asyncio.sleep(0)

    def _visit(self, key: Key) -> None:
        if key == _NAMES:
            self._keep_names()
        elif key == _ROLES:
            self._keep_roles()
        else:
            self._keep_authority(key.name)

    def _keep_policy(self, storage: str, document: JsonObject) -> None:
        """Have a role or binding that every cluster has, as it is today; its annotation can turn that off."""
        store, resource = self._cluster.store, self._cluster.registry.of_storage(storage)
        name = metadata(document)["name"]
        if resource is None:
            return
        present = store.get(resource.key("", name))
        if present is None:
            writes.create(self._cluster, Target(resource), document, _OPTIONS)
        elif (metadata(present.document).get("annotations") or {}).get(_AUTOUPDATE) == "true":
            wanted = {field: value for field, value in document.items() if field in _POLICY_FIELDS}
            if any(present.document.get(field) != value for field, value in wanted.items()):
                writes.modify(self._cluster, Target(resource, "", name), partial(_with, wanted), _OPTIONS)

    def _keep_roles(self) -> None:
        """Have every aggregated ClusterRole hold the rules it gathers."""
        resource = self._cluster.registry.of_storage(CLUSTER_ROLES)
        if resource is None:
            return
        roles = [entry.document for entry in self._cluster.store.list(CLUSTER_ROLES)]
        for role in roles:
            rules = aggregated_rules(role, roles)
            if rules is not None and rules != (role.get("rules") or []):
                target = Target(resource, "", metadata(role)["name"])
                writes.modify(self._cluster, target, partial(_with, {"rules": rules}), _OPTIONS)

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
                writes.modify(self._cluster, target, partial(_with, {"data": data}), _OPTIONS)
        except StatusError as error:
            _LOG.warning("%s in %s: %s", ROOT_AUTHORITY, namespace, error)

    def _keep_names(self) -> None:
        """Have the serving certificate hold every address of the Service `default/kubernetes`."""
        service = self._cluster.store.get(Key(_SERVICES, "default", "kubernetes"))
        slices = [entry.document for entry in self._cluster.store.list(_SLICES, "default")]
        self._tls.cover(set(_service_addresses(service.document if service else None, slices)))


def _with(fields: JsonObject, document: JsonObject) -> JsonObject:
    return {**document, **fields}


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
