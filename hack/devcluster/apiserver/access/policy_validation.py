"""What is wrong with a role or a binding by itself. Pure.

After k8s.io/kubernetes/pkg/apis/rbac/validation.
"""

import json
from collections.abc import Iterator

from devcluster.apiserver.errors import Cause
from devcluster.apiserver.objects import JsonObject

_GROUP = "rbac.authorization.k8s.io"


def policy_causes(document: JsonObject) -> list[Cause]:
    """Return the faults of a Role, ClusterRole, RoleBinding or ClusterRoleBinding."""
    kind = document["kind"]
    if kind in ("Role", "ClusterRole"):
        causes = list(_aggregation_causes(document.get("aggregationRule")))
        for place, rule in enumerate(document.get("rules") or ()):
            causes += _rule_causes(f"rules[{place}]", rule, namespaced=kind == "Role")
        return causes
    subjects = document.get("subjects") or ()
    causes = list(_reference_causes(document.get("roleRef") or {}, namespaced=kind == "RoleBinding"))
    for place, subject in enumerate(subjects):
        causes += _subject_causes(f"subjects[{place}]", subject, namespaced=kind == "RoleBinding")
    return causes


def reference_changes(new: JsonObject, old: JsonObject) -> list[Cause]:
    """Refuse another role for a binding that has one."""
    if new.get("roleRef") == old.get("roleRef"):
        return []
    return [_wrong("roleRef", new.get("roleRef"), "cannot change roleRef")]


def _aggregation_causes(aggregation: JsonObject | None) -> Iterator[Cause]:
    if aggregation is None:
        return
    path = "aggregationRule.clusterRoleSelectors"
    selectors = aggregation.get("clusterRoleSelectors") or ()
    if not selectors:
        yield _required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for place, selector in enumerate(selectors):
        for number, term in enumerate(selector.get("matchExpressions") or ()):
            if term.get("operator") not in ("In", "NotIn", "Exists", "DoesNotExist"):
                where = f"{path}[{place}].matchExpressions[{number}].operator"
                yield _wrong(where, term.get("operator"), "not a valid selector operator")


def _rule_causes(path: str, rule: JsonObject, *, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield _required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            yield _wrong(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield _wrong(f"{path}.nonResourceURLs", urls, why)
        return
    if not rule.get("apiGroups"):
        yield _required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield _required(f"{path}.resources", "resource rules must supply at least one resource")


def _reference_causes(reference: JsonObject, *, namespaced: bool) -> Iterator[Cause]:
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if reference.get("apiGroup") != _GROUP:
        yield _unsupported("roleRef.apiGroup", reference.get("apiGroup"), (_GROUP,))
    if reference.get("kind") not in kinds:
        yield _unsupported("roleRef.kind", reference.get("kind"), kinds)
    if not reference.get("name"):
        yield _required("roleRef.name", "")


def _subject_causes(path: str, subject: JsonObject, *, namespaced: bool) -> Iterator[Cause]:
    kinds = ("ServiceAccount", "User", "Group")
    kind = subject.get("kind")
    if not subject.get("name"):
        yield _required(f"{path}.name", "")
    if kind not in kinds:
        yield _unsupported(f"{path}.kind", kind, kinds)
    elif kind == "ServiceAccount":
        if not namespaced and not subject.get("namespace"):
            yield _required(f"{path}.namespace", "")
        if subject.get("apiGroup"):
            yield _unsupported(f"{path}.apiGroup", subject["apiGroup"], ("",))
    elif subject.get("apiGroup") != _GROUP:
        yield _unsupported(f"{path}.apiGroup", subject.get("apiGroup"), (_GROUP,))


def _required(path: str, why: str) -> Cause:
    return Cause("FieldValueRequired", path, f"Required value: {why}" if why else "Required value")


def _wrong(path: str, value: object, why: str) -> Cause:
    return Cause("FieldValueInvalid", path, f"Invalid value: {json.dumps(value)}: {why}")


def _unsupported(path: str, value: object, supported: tuple[str, ...]) -> Cause:
    listed = ", ".join(json.dumps(one) for one in supported)
    told = f"Unsupported value: {json.dumps(value or '')}: supported values: {listed}"
    return Cause("FieldValueNotSupported", path, told)
