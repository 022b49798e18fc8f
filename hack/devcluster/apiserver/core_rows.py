"""Rows of the core kinds other than Pods. After k8s.io/kubernetes/pkg/printers/internalversion."""

from typing import Any

from devcluster.apiserver.durations import age
from devcluster.apiserver.objects import JsonObject, is_terminating, metadata

Columns = tuple[tuple[str, str, int], ...]
NONE = "<none>"
AGE = ("Age", "string", 0)


def age_of(document: JsonObject) -> str:
    """Return the AGE column."""
    return age(metadata(document).get("creationTimestamp"))


def joined(values: Any) -> str:
    """Return values in one cell, `<none>` for no value."""
    return ",".join(str(value) for value in values) or NONE


def selector_text(selector: JsonObject | None) -> str:
    """Return a label selector as text."""
    if not selector:
        return NONE
    if not {"matchLabels", "matchExpressions"} & set(selector):
        return joined(f"{key}={value}" for key, value in selector.items())
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for term in selector.get("matchExpressions") or []:
        values = f" ({','.join(term.get('values', ()))})" if term.get("values") else ""
        terms.append(f"{term['key']} {term['operator'].lower()}{values}")
    return joined(terms)


def namespace(document: JsonObject) -> list[Any]:
    """STATUS, AGE."""
    return [document.get("status", {}).get("phase", "Active"), age_of(document)]


def node(document: JsonObject) -> list[Any]:
    """STATUS, ROLES, AGE, VERSION and what the node's system is."""
    status, labels = document.get("status", {}), metadata(document).get("labels") or {}
    ready = next((c["status"] for c in status.get("conditions") or [] if c["type"] == "Ready"), "Unknown")
    words = [{"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")]
    if document.get("spec", {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    info = status.get("nodeInfo", {})
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or []}
    return [
        ",".join(words), joined(roles), age_of(document), info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE), addresses.get("ExternalIP", NONE), info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>", info.get("containerRuntimeVersion") or "<unknown>",
    ]  # fmt: skip


def service(document: JsonObject) -> list[Any]:
    """TYPE, CLUSTER-IP, EXTERNAL-IP, PORT(S), AGE, SELECTOR."""
    spec = document.get("spec", {})
    ports = [
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or []
    ]
    external = spec.get("externalName") if spec.get("type") == "ExternalName" else joined(spec.get("externalIPs") or ())
    return [
        spec.get("type", "ClusterIP"), spec.get("clusterIP") or NONE, external, joined(ports), age_of(document),
        selector_text(spec.get("selector")),
    ]  # fmt: skip


def secret(document: JsonObject) -> list[Any]:
    """TYPE, DATA, AGE."""
    return [document.get("type", ""), len(document.get("data") or {}), age_of(document)]


def config_map(document: JsonObject) -> list[Any]:
    """DATA, AGE."""
    return [len(document.get("data") or {}) + len(document.get("binaryData") or {}), age_of(document)]


def service_account(document: JsonObject) -> list[Any]:
    """SECRETS, AGE."""
    return [len(document.get("secrets") or []), age_of(document)]


def event(document: JsonObject) -> list[Any]:
    """LAST SEEN, TYPE, REASON, OBJECT, MESSAGE and where it came from."""
    series, source = document.get("series") or {}, document.get("source") or {}
    about = document.get("involvedObject") or {}
    created = document.get("eventTime") or metadata(document).get("creationTimestamp")
    first = document.get("firstTimestamp") or created
    last = series.get("lastObservedTime") or document.get("lastTimestamp") or first
    component = source.get("component") or document.get("reportingComponent") or ""
    host = source.get("host") or document.get("reportingInstance") or ""
    return [
        age(last), document.get("type", ""), document.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}", str(document.get("message", "")).strip(),
        about.get("fieldPath", ""), ", ".join(filter(None, (component, host))), age(first),
        series.get("count") or document.get("count") or 1, metadata(document)["name"],
    ]  # fmt: skip


def claim(document: JsonObject) -> list[Any]:
    """STATUS, VOLUME, CAPACITY, ACCESS MODES, STORAGECLASS, AGE, VOLUMEMODE of a PersistentVolumeClaim."""
    spec, status = document.get("spec", {}), document.get("status", {})
    bound = bool(spec.get("volumeName"))
    return [
        "Terminating" if is_terminating(document) else status.get("phase", "Pending"), spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(status.get("accessModes")) if bound else "", spec.get("storageClassName", ""),
        age_of(document), spec.get("volumeMode", "Filesystem"),
    ]  # fmt: skip


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: list[str] | None) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in modes or ())


def volume(document: JsonObject) -> list[Any]:
    """CAPACITY, ACCESS MODES, RECLAIM POLICY, STATUS, CLAIM, STORAGECLASS, REASON, AGE of a PersistentVolume."""
    spec, status = document.get("spec", {}), document.get("status", {})
    claimed = spec.get("claimRef") or {}
    return [
        (spec.get("capacity") or {}).get("storage", ""), _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""), status.get("phase", ""),
        f"{claimed['namespace']}/{claimed['name']}" if claimed else "", spec.get("storageClassName", ""),
        status.get("reason", ""), age_of(document),
    ]  # fmt: skip


def endpoints(document: JsonObject) -> list[Any]:
    """ENDPOINTS, AGE."""
    found = [
        f"{address['ip']}:{port['port']}" if port else address["ip"]
        for subset in document.get("subsets") or []
        for address in subset.get("addresses") or []
        for port in subset.get("ports") or [None]
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return [joined(found[:3]) + more, age_of(document)]


def endpoint_slice(document: JsonObject) -> list[Any]:
    """ADDRESSTYPE, PORTS, ENDPOINTS, AGE."""
    ports = [port.get("port") for port in document.get("ports") or []]
    found = [address for endpoint in document.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    return [document.get("addressType", ""), joined(ports), joined(found[:3]), age_of(document)]


def quota(document: JsonObject) -> list[Any]:
    """REQUEST, LIMIT, AGE of a ResourceQuota."""
    hard = document.get("status", {}).get("hard") or document.get("spec", {}).get("hard") or {}
    used = document.get("status", {}).get("used") or {}
    texts = {name: f"{name}: {used.get(name, 0)}/{bound}" for name, bound in sorted(hard.items())}
    limits = [text for name, text in texts.items() if name.startswith("limits.")]
    requests = [text for name, text in texts.items() if not name.startswith("limits.")]
    return [", ".join(requests), ", ".join(limits), age_of(document)]
