"""The roles and bindings that every cluster has from its first moment. Data, and the documents it stands for.

After k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy: what is not about kinds or components that the
dev cluster lacks.
"""

from devcluster.apiserver.access.users import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from devcluster.apiserver.objects import JsonObject

_RBAC = "rbac.authorization.k8s.io"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_ALL = (*_WRITE, *_READ)
_CREATE = ("create",)

# (verbs, group, resources)
_Row = tuple[tuple[str, ...], str, str]

_VIEW: tuple[_Row, ...] = (
    (_READ, "", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
     "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status"),
    (_READ, "", "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
     "resourcequotas resourcequotas/status"),
    (_READ, "", "namespaces"),
    (_READ, "discovery.k8s.io", "endpointslices"),
    (_READ, "apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
     "deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale "
     "statefulsets/status"),
    (_READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    (_READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    (_READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    (_READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
)  # fmt: skip
_EDIT: tuple[_Row, ...] = (
    (_READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    (("impersonate",), "", "serviceaccounts"),
    (_WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    (_CREATE, "", "pods/eviction"),
    (_WRITE, "", "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale "
     "secrets serviceaccounts services services/proxy"),
    (_CREATE, "", "serviceaccounts/token"),
    (_WRITE, "apps", "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale "
     "statefulsets statefulsets/scale"),
    (_WRITE, "autoscaling", "horizontalpodautoscalers"),
    (_WRITE, "batch", "cronjobs jobs"),
    (_WRITE, "policy", "poddisruptionbudgets"),
    (_WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    (_ALL, "coordination.k8s.io", "leases"),
)  # fmt: skip
_ADMIN: tuple[_Row, ...] = (
    (_CREATE, "authorization.k8s.io", "localsubjectaccessreviews"),
    (_ALL, _RBAC, "rolebindings roles"),
)
_BASIC: tuple[_Row, ...] = (
    (_CREATE, "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
    (_CREATE, "authentication.k8s.io", "selfsubjectreviews"),
)
_DELEGATOR: tuple[_Row, ...] = (
    (_CREATE, "authentication.k8s.io", "tokenreviews"),
    (_CREATE, "authorization.k8s.io", "subjectaccessreviews"),
)
_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH)


def cluster_roles() -> list[JsonObject]:
    """Return the ClusterRoles; the rules of the aggregated ones are filled by `aggregation`."""
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    return [
        _role("cluster-admin", [everything, {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
        _role("system:aggregate-to-view", _rules(_VIEW), {f"{_RBAC}/aggregate-to-view": "true"}),
        _role("system:aggregate-to-edit", _rules(_EDIT), {f"{_RBAC}/aggregate-to-edit": "true"}),
        _role("system:aggregate-to-admin", _rules(_ADMIN), {f"{_RBAC}/aggregate-to-admin": "true"}),
        _aggregated("view", {f"{_RBAC}/aggregate-to-edit": "true"}),
        _aggregated("edit", {f"{_RBAC}/aggregate-to-admin": "true"}),
        _aggregated("admin"),
        _role("system:discovery", [_paths(_DISCOVERY)]),
        _role("system:public-info-viewer", [_paths(_HEALTH)]),
        _role("system:basic-user", _rules(_BASIC)),
        _role("system:auth-delegator", _rules(_DELEGATOR)),
    ]


def cluster_role_bindings() -> list[JsonObject]:
    """Return the ClusterRoleBindings, each named as its role."""
    bound = {
        "cluster-admin": (MASTERS,),
        "system:discovery": (AUTHENTICATED,),
        "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
        "system:basic-user": (AUTHENTICATED,),
    }
    return [
        _document("ClusterRoleBinding", name)
        | {
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups],
        }
        for name, groups in bound.items()
    ]


def _document(kind: str, name: str, labels: dict[str, str] | None = None) -> JsonObject:
    meta = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **(labels or {})},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": meta}


def _role(name: str, rules: list[JsonObject], labels: dict[str, str] | None = None) -> JsonObject:
    return _document("ClusterRole", name, labels) | {"rules": rules}


def _aggregated(name: str, labels: dict[str, str] | None = None) -> JsonObject:
    selector = {"matchLabels": {f"{_RBAC}/aggregate-to-{name}": "true"}}
    return _document("ClusterRole", name, labels) | {"aggregationRule": {"clusterRoleSelectors": [selector]}}


def _rules(rows: tuple[_Row, ...]) -> list[JsonObject]:
    return [
        {"apiGroups": [group], "resources": resources.split(), "verbs": list(verbs)} for verbs, group, resources in rows
    ]


def _paths(paths: tuple[str, ...]) -> JsonObject:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}
