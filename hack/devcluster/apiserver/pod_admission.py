"""What a real API server's admission plugins do about Pods: ServiceAccount, priority and Pod Security.

After k8s.io/kubernetes/plugin/pkg/admission/{serviceaccount,priority,security/podsecurity}. A new Pod is changed in
place before it is validated. Refusals are 403, in Kubernetes' words. Of Pod Security, `enforce` and `warn` act; `audit`
would be noted in an audit log of administrators, whom ours leaves out.
"""

from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import StatusError, forbidden
from devcluster.apiserver.objects import JsonObject, metadata, random_suffix
from devcluster.apiserver.pod_security import LEVELS, violations
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.store import Key

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path, not a secret
TOKEN_SECONDS = 3607
"""As Kubernetes asks for; such a life marks a token that was mounted without being asked for."""
SECURITY_LABEL = "pod-security.kubernetes.io/"
_TEMPLATES = {
    "/replicationcontrollers": ("template",),
    "apps/deployments": ("template",),
    "apps/replicasets": ("template",),
    "apps/statefulsets": ("template",),
    "apps/daemonsets": ("template",),
    "batch/jobs": ("template",),
    "batch/cronjobs": ("jobTemplate", "spec", "template"),
}
"""Where below `spec` the workloads have their pod template."""
_CLASSES = "scheduling.k8s.io/priorityclasses"
_DEFAULT_POLICY = "PreemptLowerPriority"


def admit_pod(cluster: Cluster, target: Target, pod: JsonObject) -> None:
    """Complete a new Pod, unless its namespace is missing, which is refused later. Raises `StatusError` 403."""
    if cluster.store.get(Key("/namespaces", "", target.namespace)) is None:
        return
    _give_account(cluster, target, pod)
    _give_priority(cluster, target, pod)


def _refusal(target: Target, pod: JsonObject, why: str) -> StatusError:
    return forbidden(target.resource.subject(pod["metadata"]["name"]), why)


def _give_account(cluster: Cluster, target: Target, pod: JsonObject) -> None:
    spec = pod["spec"]
    name = spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = name
    entry = cluster.store.get(Key("/serviceaccounts", target.namespace, name))
    if entry is None and name != "default":  # a new namespace's own account is about to be made
        why = f'error looking up service account {target.namespace}/{name}: serviceaccount "{name}" not found'
        raise _refusal(target, pod, why)
    account = entry.document if entry else {}
    if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    wished = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken"))
    if wished is not False:
        _mount_token(spec)


def _mount_token(spec: JsonObject) -> None:
    """Give each container that has no volume there the token, the authority and the namespace."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    without = [one for one in containers if not _mounts(one, TOKEN_FOLDER)]
    if not without:
        return
    name = f"kube-api-access-{random_suffix()}"
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]  # fmt: skip
    volume = {"name": name, "projected": {"defaultMode": 0o644, "sources": sources}}
    spec["volumes"] = [*(spec.get("volumes") or ()), volume]
    for container in without:
        mount = {"name": name, "mountPath": TOKEN_FOLDER, "readOnly": True}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _mounts(container: JsonObject, path: str) -> bool:
    return any(mount.get("mountPath") == path for mount in container.get("volumeMounts") or ())


def _give_priority(cluster: Cluster, target: Target, pod: JsonObject) -> None:
    spec = pod["spec"]
    found = _class_of(cluster, target, pod)
    value = int(found.get("value", 0)) if found else 0
    if found:
        spec["priorityClassName"] = metadata(found)["name"]
    given = spec.setdefault("priority", value)
    if given != value:
        why = (
            f"the integer value of priority ({given}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
        raise _refusal(target, pod, why)
    spec.setdefault("preemptionPolicy", (found or {}).get("preemptionPolicy", _DEFAULT_POLICY))


def _class_of(cluster: Cluster, target: Target, pod: JsonObject) -> JsonObject | None:
    """The PriorityClass that a Pod names, or else the default one, if there is any."""
    name = pod["spec"].get("priorityClassName")
    classes = [entry.document for entry in cluster.store.list(_CLASSES)]
    if not name:
        defaults = [one for one in classes if one.get("globalDefault")]
        return min(defaults, key=lambda one: int(one.get("value", 0)), default=None)
    found = next((one for one in classes if metadata(one)["name"] == name), None)
    if found is None:
        raise _refusal(target, pod, f"no PriorityClass with name {name} was found")
    return found


def judge_security(cluster: Cluster, target: Target, document: JsonObject, options: WriteOptions) -> None:
    """Hold a valid Pod or workload against its namespace's labels: refuse a Pod, warn of anything.

    Raises `StatusError` 403. Only what is new should be brought here: no change of a Pod that is allowed matters.
    """
    namespace = cluster.store.get(Key("/namespaces", "", target.namespace))
    subject = _judged(target, document)
    if namespace is None or subject is None or target.subresource:
        return
    labels = metadata(namespace.document).get("labels") or {}
    annotations, spec = metadata(subject).get("annotations") or {}, subject.get("spec") or {}
    if target.resource.storage == "/pods":
        level, told = _level(labels, "enforce")
        found = violations(level, spec, annotations)
        if found:
            raise _refusal(target, document, f'violates PodSecurity "{told}": {", ".join(found)}')
    level, told = _level(labels, "warn")
    found = violations(level, spec, annotations)
    if found:
        options.warnings.append(f'would violate PodSecurity "{told}": {", ".join(found)}')


def _judged(target: Target, document: JsonObject) -> JsonObject | None:
    """The Pod, or the pod template, that an object is about; None for any other kind."""
    if target.resource.storage == "/pods":
        return document
    path = _TEMPLATES.get(target.resource.storage)
    found: JsonObject | None = document.get("spec") if path else None
    for step in path or ():
        found = (found or {}).get(step)
    return found


def _level(labels: JsonObject, mode: str) -> tuple[str, str]:
    """The level of a mode, and as Kubernetes names it with its version; a level that is none is the strictest."""
    level = labels.get(SECURITY_LABEL + mode, "privileged")
    level = level if level in LEVELS else "restricted"
    return level, f"{level}:{labels.get(f'{SECURITY_LABEL}{mode}-version', 'latest')}"
