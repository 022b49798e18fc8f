"""Rows of the grouped built-in kinds. After k8s.io/kubernetes/pkg/printers/internalversion."""

from typing import Any

from devcluster.apiserver.core_rows import NONE, age_of, joined, selector_text
from devcluster.apiserver.durations import age, human_duration
from devcluster.apiserver.objects import JsonObject, metadata, parse_time


def _containers(document: JsonObject) -> tuple[str, str]:
    containers = document.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or []
    return joined(c["name"] for c in containers), joined(c.get("image", "") for c in containers)


def deployment(document: JsonObject) -> list[Any]:
    """READY, UP-TO-DATE, AVAILABLE, AGE and the template's containers."""
    spec, status = document.get("spec", {}), document.get("status", {})
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}", status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0), age_of(document), *_containers(document),
        selector_text(spec.get("selector")),
    ]  # fmt: skip


def replica_set(document: JsonObject) -> list[Any]:
    """DESIRED, CURRENT, READY, AGE and the template's containers."""
    spec, status = document.get("spec", {}), document.get("status", {})
    return [
        spec.get("replicas", 1), status.get("replicas", 0), status.get("readyReplicas", 0), age_of(document),
        *_containers(document), selector_text(spec.get("selector")),
    ]  # fmt: skip


def stateful_set(document: JsonObject) -> list[Any]:
    """READY, AGE and the template's containers."""
    ready, wanted = document.get("status", {}).get("readyReplicas", 0), document.get("spec", {}).get("replicas", 1)
    return [f"{ready}/{wanted}", age_of(document), *_containers(document)]


def daemon_set(document: JsonObject) -> list[Any]:
    """DESIRED, CURRENT, READY, UP-TO-DATE, AVAILABLE, NODE SELECTOR, AGE and the template's containers."""
    status, spec = document.get("status", {}), document.get("spec", {})
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    node_selector = spec.get("template", {}).get("spec", {}).get("nodeSelector")
    return [
        *(status.get(count, 0) for count in counts), selector_text(node_selector), age_of(document),
        *_containers(document), selector_text(spec.get("selector")),
    ]  # fmt: skip


def job(document: JsonObject) -> list[Any]:
    """STATUS, COMPLETIONS, DURATION, AGE and the template's containers."""
    spec, status = document.get("spec", {}), document.get("status", {})
    true = {c["type"] for c in status.get("conditions") or [] if c.get("status") == "True"}
    word = next(
        (w for w, kind in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")) if kind in true),
        "Running",
    )
    start, end = parse_time(status.get("startTime", "")), parse_time(status.get("completionTime", ""))
    if start is None:
        duration = ""
    else:
        duration = human_duration((end - start).total_seconds()) if end else age(status["startTime"])
    done, wanted = status.get("succeeded", 0), spec.get("completions", 1)
    return [
        word,
        f"{done}/{wanted}",
        duration,
        age_of(document),
        *_containers(document),
        selector_text(spec.get("selector")),
    ]


def cron_job(document: JsonObject) -> list[Any]:
    """SCHEDULE, TIMEZONE, SUSPEND, ACTIVE, LAST SCHEDULE, AGE."""
    spec, status = document.get("spec", {}), document.get("status", {})
    last = age(status["lastScheduleTime"]) if status.get("lastScheduleTime") else NONE
    return [
        spec.get("schedule"), spec.get("timeZone") or NONE, str(spec.get("suspend", False)),
        len(status.get("active") or []), last, age_of(document),
    ]  # fmt: skip


def lease(document: JsonObject) -> list[Any]:
    """HOLDER, AGE."""
    return [document.get("spec", {}).get("holderIdentity", ""), age_of(document)]


def created_at(document: JsonObject) -> list[Any]:
    """CREATED AT."""
    return [metadata(document).get("creationTimestamp", "")]


def role_binding(document: JsonObject) -> list[Any]:
    """ROLE, AGE and the subjects by kind."""
    role, subjects = document.get("roleRef", {}), document.get("subjects") or []
    by_kind = [
        joined(_subject(s) for s in subjects if s.get("kind") == kind) for kind in ("User", "Group", "ServiceAccount")
    ]
    return [
        f"{role.get('kind')}/{role.get('name')}",
        age_of(document),
        *("" if text == NONE else text for text in by_kind),
    ]


def _subject(subject: JsonObject) -> str:
    return f"{subject['namespace']}/{subject['name']}" if subject.get("namespace") else str(subject["name"])


def disruption_budget(document: JsonObject) -> list[Any]:
    """MIN AVAILABLE, MAX UNAVAILABLE, ALLOWED DISRUPTIONS, AGE."""
    spec = document.get("spec", {})
    return [
        str(spec.get("minAvailable", "N/A")), str(spec.get("maxUnavailable", "N/A")),
        document.get("status", {}).get("disruptionsAllowed", 0), age_of(document),
    ]  # fmt: skip


def priority_class(document: JsonObject) -> list[Any]:
    """VALUE, GLOBAL-DEFAULT, AGE, PREEMPTIONPOLICY."""
    default = str(bool(document.get("globalDefault"))).lower()
    return [
        document.get("value", 0),
        default,
        age_of(document),
        document.get("preemptionPolicy", "PreemptLowerPriority"),
    ]


def storage_class(document: JsonObject) -> list[Any]:
    """PROVISIONER, RECLAIMPOLICY, VOLUMEBINDINGMODE, ALLOWVOLUMEEXPANSION, AGE."""
    expansion = str(bool(document.get("allowVolumeExpansion"))).lower()
    return [
        document.get("provisioner", ""), document.get("reclaimPolicy", "Delete"),
        document.get("volumeBindingMode", "Immediate"), expansion, age_of(document),
    ]  # fmt: skip


def network_policy(document: JsonObject) -> list[Any]:
    """POD-SELECTOR, AGE."""
    return [selector_text(document.get("spec", {}).get("podSelector")), age_of(document)]
