"""What is wrong with a workload's pod template beyond its schema. Pure. After k8s.io/kubernetes/pkg/apis/{apps,batch}.

A controller relies on these: Pods that do not match their own workload's selector would be made without end.
"""

import json

from devcluster.apiserver.errors import Cause
from devcluster.apiserver.objects import JsonObject

_POLICIES = {"Deployment": ("Always",), "ReplicaSet": ("Always",), "Job": ("OnFailure", "Never")}
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def workload_causes(document: JsonObject) -> list[Cause]:
    """The faults of a Deployment, a ReplicaSet or a Job; none for any other kind."""
    policies = _POLICIES.get(document["kind"])
    if policies is None:
        return []
    spec = document.get("spec") or {}
    template = spec.get("template") or {}
    causes = _selector_causes(spec.get("selector") or {}, (template.get("metadata") or {}).get("labels") or {})
    policy = (template.get("spec") or {}).get("restartPolicy", "Always")
    if policy not in policies:
        supported = ", ".join(f'"{one}"' for one in policies)
        message = f'Unsupported value: "{policy}": supported values: {supported}'
        causes.append(Cause("FieldValueNotSupported", "spec.template.spec.restartPolicy", message))
    return causes


def _selector_causes(selector: JsonObject, labels: JsonObject) -> list[Cause]:
    terms = selector.get("matchExpressions") or []
    if not terms and not selector.get("matchLabels"):
        message = f"Invalid value: {json.dumps(selector)}: empty selector is invalid"
        return [Cause("FieldValueInvalid", "spec.selector", message)]
    for number, term in enumerate(terms):
        if term["operator"] not in _OPERATORS:
            field = f"spec.selector.matchExpressions[{number}].operator"
            message = f'Invalid value: "{term["operator"]}": not a valid selector operator'
            return [Cause("FieldValueInvalid", field, message)]
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    if equal and all(_holds(term, labels) for term in terms):
        return []
    message = f"Invalid value: {json.dumps(labels)}: `selector` does not match template `labels`"
    return [Cause("FieldValueInvalid", "spec.template.metadata.labels", message)]


def _holds(term: JsonObject, labels: JsonObject) -> bool:
    value, values = labels.get(term["key"]), term.get("values") or []
    if term["operator"] in ("In", "NotIn"):
        return (value in values) is (term["operator"] == "In")
    return (value is not None) is (term["operator"] == "Exists")
