"""Which columns each built-in kind prints, and which function fills them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver import core_rows, pod_rows, workload_rows
from devcluster.apiserver.core_rows import AGE, Columns
from devcluster.apiserver.objects import JsonObject


@dataclass(frozen=True)
class KindTable:
    """The columns after the name (name, type, priority) and the function that makes their cells."""

    columns: Columns
    cells: Callable[[JsonObject], list[Any]]


def _columns(*names: str, wide: tuple[str, ...] = ()) -> Columns:
    """Return text columns, those of `wide` shown with `-o wide` only; `#` before a name makes it a number."""
    return tuple(
        (name.lstrip("#"), "integer" if name.startswith("#") else "string", priority)
        for group, priority in ((names, 0), (wide, 1))
        for name in group
    )


_TEMPLATE = ("Containers", "Images", "Selector")
_CREATED = KindTable((("Created At", "date", 0),), workload_rows.created_at)
_BINDING = KindTable(_columns("Role", "Age", wide=("Users", "Groups", "ServiceAccounts")), workload_rows.role_binding)

TABLES: dict[str, KindTable] = {
    "/pods": KindTable(pod_rows.COLUMNS, pod_rows.cells),
    "/namespaces": KindTable(_columns("Status", "Age"), core_rows.namespace),
    "/nodes": KindTable(
        _columns(
            "Status",
            "Roles",
            "Age",
            "Version",
            wide=("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
        ),
        core_rows.node,
    ),
    "/services": KindTable(
        _columns("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)), core_rows.service
    ),
    "/secrets": KindTable(_columns("Type", "#Data", "Age"), core_rows.secret),
    "/configmaps": KindTable(_columns("#Data", "Age"), core_rows.config_map),
    "/serviceaccounts": KindTable(_columns("#Secrets", "Age"), core_rows.service_account),
    "/events": KindTable(
        _columns(
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "Message",
            wide=("Subobject", "Source", "First Seen", "#Count", "Name"),
        ),
        core_rows.event,
    ),
    "/persistentvolumeclaims": KindTable(
        _columns("Status", "Volume", "Capacity", "Access Modes", "StorageClass", "Age", wide=("VolumeMode",)),
        core_rows.claim,
    ),
    "/persistentvolumes": KindTable(
        _columns("Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass", "Reason", "Age"),
        core_rows.volume,
    ),
    "/endpoints": KindTable(_columns("Endpoints", "Age"), core_rows.endpoints),
    "/resourcequotas": KindTable(_columns("Request", "Limit", "Age"), core_rows.quota),
    "discovery.k8s.io/endpointslices": KindTable(
        _columns("AddressType", "Ports", "Endpoints", "Age"), core_rows.endpoint_slice
    ),
    "apps/deployments": KindTable(
        _columns("Ready", "#Up-to-date", "#Available", "Age", wide=_TEMPLATE), workload_rows.deployment
    ),
    "apps/replicasets": KindTable(
        _columns("#Desired", "#Current", "#Ready", "Age", wide=_TEMPLATE), workload_rows.replica_set
    ),
    "apps/statefulsets": KindTable(_columns("Ready", "Age", wide=_TEMPLATE[:2]), workload_rows.stateful_set),
    "apps/daemonsets": KindTable(
        _columns("#Desired", "#Current", "#Ready", "#Up-to-date", "#Available", "Node Selector", "Age", wide=_TEMPLATE),
        workload_rows.daemon_set,
    ),
    "batch/jobs": KindTable(_columns("Status", "Completions", "Duration", "Age", wide=_TEMPLATE), workload_rows.job),
    "batch/cronjobs": KindTable(
        _columns("Schedule", "Timezone", "Suspend", "#Active", "Last Schedule", "Age"), workload_rows.cron_job
    ),
    "coordination.k8s.io/leases": KindTable(_columns("Holder", "Age"), workload_rows.lease),
    "rbac.authorization.k8s.io/roles": _CREATED,
    "rbac.authorization.k8s.io/clusterroles": _CREATED,
    "rbac.authorization.k8s.io/rolebindings": _BINDING,
    "rbac.authorization.k8s.io/clusterrolebindings": _BINDING,
    "policy/poddisruptionbudgets": KindTable(
        _columns("Min Available", "Max Unavailable", "#Allowed Disruptions", "Age"), workload_rows.disruption_budget
    ),
    "scheduling.k8s.io/priorityclasses": KindTable(
        _columns("#Value", "Global-Default", "Age", "PreemptionPolicy"), workload_rows.priority_class
    ),
    "storage.k8s.io/storageclasses": KindTable(
        _columns("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"),
        workload_rows.storage_class,
    ),
    "networking.k8s.io/networkpolicies": KindTable(_columns("Pod-Selector", "Age"), workload_rows.network_policy),
    "apiextensions.k8s.io/customresourcedefinitions": _CREATED,
}

PLAIN = KindTable((AGE,), lambda document: [core_rows.age_of(document)])
