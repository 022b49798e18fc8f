"""What the server does to built-in kinds on their way in, beyond their schemas.

After the strategies and defaults of k8s.io/kubernetes/pkg/registry and pkg/apis; only what clients of the dev cluster
see or rely on. Rules change a document in place.
"""

import base64
from collections.abc import Callable

from devcluster.apiserver import custom_resources, definition_rules, network_policy_rules
from devcluster.apiserver.access.policy_validation import policy_causes, reference_changes
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import Cause, invalid
from devcluster.apiserver.objects import JsonObject, clone, metadata
from devcluster.apiserver.pod_defaults import default_pod_spec, quality_of_service
from devcluster.apiserver.requests import Target
from devcluster.apiserver.service_addresses import address_causes, address_changes, assign_address
from devcluster.apiserver.store import Key
from devcluster.apiserver.workload_rules import workload_causes

Rule = Callable[[JsonObject, JsonObject | None], None]


def prepare(target: Target, new: JsonObject, old: JsonObject | None) -> None:
    """Complete the object, before it is validated; `old` is None on creation."""
    rule = _RULES.get(target.resource.storage)
    if rule is not None:
        rule(new, old)


def complete(cluster: Cluster, target: Target, new: JsonObject) -> None:
    """Complete a valid object with what depends on other objects. Raises `StatusError` 422.

    A CustomResourceDefinition gets its status at once: its resources are served as soon as it is stored.
    """
    if target.resource.storage == "/services":
        _give_address(cluster, target, new)
    faults = [] if target.resource.custom else workload_causes(new)
    if faults:
        raise invalid(target.resource.subject(new["metadata"]["name"]), faults)
    if target.resource.group == "rbac.authorization.k8s.io":
        faults = policy_causes(new)
        if faults:
            raise invalid(target.resource.subject(new["metadata"]["name"]), faults)
    if target.resource.storage == network_policy_rules.STORAGE:
        faults = network_policy_rules.policy_causes(new)
        if faults:
            raise invalid(target.resource.subject(new["metadata"]["name"]), faults)
    if target.resource.storage != custom_resources.STORAGE:
        return
    causes = definition_rules.definition_causes(new)
    if causes:
        raise invalid(target.resource.subject(new["metadata"]["name"]), causes)
    others = [entry.document for entry in cluster.store.list(custom_resources.STORAGE)]
    taken = custom_resources.names_taken(others, new["spec"]["group"])
    new["spec"].setdefault("conversion", {"strategy": "None"})
    new.update(custom_resources.with_status(new, taken))


def _give_address(cluster: Cluster, target: Target, service: JsonObject) -> None:
    own = target.resource.key(target.namespace, service["metadata"]["name"])
    others = [entry.document.get("spec", {}) for entry in cluster.store.list("/services") if entry.key != own]
    used = {spec["clusterIP"] for spec in others if spec.get("clusterIP")}
    causes = address_causes(service, used)
    if causes:
        raise invalid(target.resource.subject(service["metadata"]["name"]), causes)
    first = cluster.store.get(Key("/namespaces", "", "kube-system"))
    assign_address(service, used, metadata(first.document)["uid"] if first else "")


def immutable_causes(target: Target, new: JsonObject, old: JsonObject) -> list[Cause]:
    """Return the changes an update makes that its kind does not allow."""
    check = _IMMUTABLE.get(target.resource.storage)
    return check(new, old) if check else []


def _namespace(new: JsonObject, old: JsonObject | None) -> None:
    meta = new["metadata"]
    meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta["name"]
    if old is None:
        new.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        new["status"] = {"phase": "Active"}
    else:
        new["spec"] = old.get("spec", {})


def _secret(new: JsonObject, old: JsonObject | None) -> None:
    plain = new.pop("stringData", None)
    if plain:
        data = new.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})
    new.setdefault("type", "Opaque")


def _pod(new: JsonObject, old: JsonObject | None) -> None:
    spec = new.setdefault("spec", {})
    default_pod_spec(spec)
    if old is None:
        new["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}


def _service(new: JsonObject, old: JsonObject | None) -> None:
    spec = new.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    for field in ("clusterIP", "clusterIPs"):
        if old is not None and not spec.get(field) and old["spec"].get(field):
            spec[field] = old["spec"][field]


def _workload(new: JsonObject, old: JsonObject | None) -> None:
    spec = new.setdefault("spec", {})
    if new["kind"] in ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"):
        spec.setdefault("replicas", 1)
    if new["kind"] == "Deployment":
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
        spec.setdefault("strategy", rolling)
    if isinstance(spec.get("template"), dict):
        default_pod_spec(spec["template"].setdefault("spec", {}))


def _job(new: JsonObject, old: JsonObject | None) -> None:
    """Give a Job its defaults, and its Pods the labels that its own selector finds them by."""
    _workload(new, old)
    spec = new["spec"]
    for field, value in (
        ("parallelism", 1),
        ("backoffLimit", 6),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("podReplacementPolicy", "TerminatingOrFailed"),
    ):
        spec.setdefault(field, value)
    if "completions" not in spec and spec["parallelism"] == 1:
        spec["completions"] = 1
    if old is not None or spec.get("manualSelector"):
        return
    uid, name = new["metadata"]["uid"], new["metadata"]["name"]
    mark = {"batch.kubernetes.io/controller-uid": uid}
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    names = {"batch.kubernetes.io/job-name": name, "controller-uid": uid, "job-name": name}
    template["labels"] = {**(template.get("labels") or {}), **mark, **names}
    spec["selector"] = {"matchLabels": mark}


def _network_policy(new: JsonObject, old: JsonObject | None) -> None:
    network_policy_rules.default_policy(new)


def _claim(new: JsonObject, old: JsonObject | None) -> None:
    new.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    new.setdefault("status", {"phase": "Pending"})


def _binding(new: JsonObject, old: JsonObject | None) -> None:
    new.setdefault("roleRef", {}).setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in new.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


_RULES: dict[str, Rule] = {
    "/namespaces": _namespace,
    "/secrets": _secret,
    "/pods": _pod,
    "/services": _service,
    "/persistentvolumeclaims": _claim,
    network_policy_rules.STORAGE: _network_policy,
    "/replicationcontrollers": _workload,
    "apps/deployments": _workload,
    "apps/replicasets": _workload,
    "apps/statefulsets": _workload,
    "apps/daemonsets": _workload,
    "batch/jobs": _job,
    "rbac.authorization.k8s.io/rolebindings": _binding,
    "rbac.authorization.k8s.io/clusterrolebindings": _binding,
}

_POD_EDITABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates")


def _pod_changes(new: JsonObject, old: JsonObject) -> list[Cause]:
    before, after = clone(old.get("spec", {})), clone(new.get("spec", {}))
    for spec in (before, after):
        for field in _POD_EDITABLE:
            spec.pop(field, None)
        for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
            container.pop("image", None)
    if before == after:
        return []
    message = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [Cause("FieldValueForbidden", "spec", message)]


def _data_changes(new: JsonObject, old: JsonObject) -> list[Cause]:
    if not old.get("immutable"):
        return []
    fields = [f for f in ("data", "binaryData", "immutable") if new.get(f) != old.get(f)]
    return [Cause("FieldValueForbidden", f, "Forbidden: field is immutable when `immutable` is set") for f in fields]


def _selector_changes(new: JsonObject, old: JsonObject) -> list[Cause]:
    if new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [Cause("FieldValueInvalid", "spec.selector", "Invalid value: field is immutable")]


def _job_changes(new: JsonObject, old: JsonObject) -> list[Cause]:
    fields = [field for field in ("selector", "template") if new["spec"].get(field) != old["spec"].get(field)]
    return [Cause("FieldValueInvalid", f"spec.{field}", "Invalid value: field is immutable") for field in fields]


_IMMUTABLE: dict[str, Callable[[JsonObject, JsonObject], list[Cause]]] = {
    "/pods": _pod_changes,
    "/services": address_changes,
    "/secrets": _data_changes,
    "/configmaps": _data_changes,
    "apps/deployments": _selector_changes,
    "apps/replicasets": _selector_changes,
    "apps/statefulsets": _selector_changes,
    "apps/daemonsets": _selector_changes,
    "rbac.authorization.k8s.io/rolebindings": reference_changes,
    "rbac.authorization.k8s.io/clusterrolebindings": reference_changes,
    "batch/jobs": _job_changes,
}
