"""The table of built-in resources: every kind the dev cluster stores besides custom ones.

The controllers that Kubernetes runs over many of them are not part of this server: `devcluster.workloads` has those
of Deployments, ReplicaSets, Jobs and budgets; the others are stored, validated and shown, and nothing acts on them.
"""

from dataclasses import dataclass

from devcluster.apiserver.resources import ALL_VERBS, Resource, ScalePaths

_REPLICAS = ScalePaths(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))
_CREATE_ONLY = ("create",)
_NO_COLLECTION_DELETE = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")


@dataclass(frozen=True)
class _Row:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    status: bool = False
    scale: ScalePaths | None = None
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS


_ALL = ("all",)
_RBAC = "rbac.authorization.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"

_ROWS = (
    _Row("", "v1", "namespaces", "Namespace", False, ("ns",), True, None, ("finalize",), verbs=_NO_COLLECTION_DELETE),
    _Row("", "v1", "nodes", "Node", False, ("no",), True),
    _Row("", "v1", "persistentvolumes", "PersistentVolume", False, ("pv",), True),
    _Row("", "v1", "pods", "Pod", True, ("po",), True, subresources=("binding", "eviction", "log"), categories=_ALL),
    _Row("", "v1", "services", "Service", True, ("svc",), True, categories=_ALL),
    _Row("", "v1", "endpoints", "Endpoints", True, ("ep",)),
    _Row("", "v1", "secrets", "Secret"),
    _Row("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    _Row("", "v1", "events", "Event", True, ("ev",)),
    _Row("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), True),
    _Row("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), subresources=("token",)),
    _Row("", "v1", "resourcequotas", "ResourceQuota", True, ("quota",), True),
    _Row("", "v1", "limitranges", "LimitRange", True, ("limits",)),
    _Row("", "v1", "replicationcontrollers", "ReplicationController", True, ("rc",), True, _REPLICAS, categories=_ALL),
    _Row("apps", "v1", "deployments", "Deployment", True, ("deploy",), True, _REPLICAS, categories=_ALL),
    _Row("apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), True, _REPLICAS, categories=_ALL),
    _Row("apps", "v1", "statefulsets", "StatefulSet", True, ("sts",), True, _REPLICAS, categories=_ALL),
    _Row("apps", "v1", "daemonsets", "DaemonSet", True, ("ds",), True, categories=_ALL),
    _Row("apps", "v1", "controllerrevisions", "ControllerRevision"),
    _Row("batch", "v1", "jobs", "Job", True, (), True, categories=_ALL),
    _Row("batch", "v1", "cronjobs", "CronJob", True, ("cj",), True, categories=_ALL),
    _Row("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, ("hpa",), True, None,
         categories=_ALL),
    _Row(_RBAC, "v1", "roles", "Role"),
    _Row(_RBAC, "v1", "rolebindings", "RoleBinding"),
    _Row(_RBAC, "v1", "clusterroles", "ClusterRole", False),
    _Row(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    _Row("coordination.k8s.io", "v1", "leases", "Lease"),
    _Row("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True, ("netpol",)),
    _Row("networking.k8s.io", "v1", "ingresses", "Ingress", True, ("ing",), True),
    _Row("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, ("pdb",), True),
    _Row("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, ("pc",)),
    _Row("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    _Row("storage.k8s.io", "v1", "storageclasses", "StorageClass", False, ("sc",)),
    _Row("events.k8s.io", "v1", "events", "Event", True, ("ev",)),
    _Row("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False,
         ("crd", "crds"), True, categories=("api-extensions",)),
    _Row(_AUTHORIZATION, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=_CREATE_ONLY),
    _Row(_AUTHORIZATION, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=_CREATE_ONLY),
    _Row(_AUTHORIZATION, "v1", "subjectaccessreviews", "SubjectAccessReview", False, verbs=_CREATE_ONLY),
    _Row(_AUTHORIZATION, "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=_CREATE_ONLY),
    _Row("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", False, verbs=_CREATE_ONLY),
    _Row("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=_CREATE_ONLY),
)  # fmt: skip

# Events of both groups are one set of objects, kept as v1.
_SHARED_STORAGE = {("events.k8s.io", "events"): ("/events", "v1")}


def _schema_name(row: _Row) -> str:
    if row.group == "apiextensions.k8s.io":
        return f"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{row.version}.{row.kind}"
    return f"io.k8s.api.{row.group.partition('.')[0] or 'core'}.{row.version}.{row.kind}"


def built_in_resources() -> tuple[Resource, ...]:
    """Return every built-in resource, without schemas (`openapi_definitions` has those by `schema_name`)."""
    return tuple(_resource(row) for row in _ROWS)


def _resource(row: _Row) -> Resource:
    api_version = f"{row.group}/{row.version}" if row.group else row.version
    storage, storage_version = _SHARED_STORAGE.get((row.group, row.plural), (f"{row.group}/{row.plural}", api_version))
    return Resource(
        group=row.group,
        version=row.version,
        plural=row.plural,
        singular=row.kind.lower(),
        kind=row.kind,
        namespaced=row.namespaced,
        storage=storage,
        storage_version=storage_version,
        short_names=row.short_names,
        categories=row.categories,
        verbs=row.verbs,
        status=row.status,
        scale=row.scale,
        subresources=row.subresources,
        schema_name=_schema_name(row),
    )
