"""Label and field selectors: the query language of list, watch and deletecollection.

Pure: text in, predicate out. The grammar is that of k8s.io/apimachinery/pkg/labels and /fields.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver.errors import StatusError, bad_request
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.resources import Resource

Predicate = Callable[[JsonObject], bool]

_SET_BASED = re.compile(r"^\s*(?P<key>[^\s!=<>(),]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)\s*$")
_COMPARISON = re.compile(r"^\s*(?P<key>[^\s!=<>(),]+)\s*(?P<operator>==|!=|=|<|>)\s*(?P<value>[^\s!=<>(),]*)\s*$")
_EXISTENCE = re.compile(r"^\s*(?P<negated>!?)\s*(?P<key>[^\s!=<>(),]+)\s*$")
_OUTSIDE_PARENTHESES = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector; `operator` is in, notin, exists, !, > or <."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: JsonObject) -> bool:
        """Tell whether a set of labels satisfies the term."""
        present = self.key in labels
        value = str(labels.get(self.key, ""))
        match self.operator:
            case "in":
                return present and value in self.values
            case "notin":
                return not present or value not in self.values
            case "exists":
                return present
            case "!":
                return not present
        if not present or not value.lstrip("-").isdigit():
            return False
        bound = int(self.values[0])
        return int(value) > bound if self.operator == ">" else int(value) < bound


def parse_label_selector(text: str) -> tuple[Requirement, ...]:
    """Parse `a=b,c in (d,e),!f`. Raises `StatusError` 400 on a selector that is none."""
    return tuple(_requirement(term, text) for term in _OUTSIDE_PARENTHESES.split(text) if term.strip())


def _requirement(term: str, whole: str) -> Requirement:
    if found := _SET_BASED.match(term):
        values = tuple(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], found["operator"], values)
    if found := _COMPARISON.match(term):
        operator, value = found["operator"], found["value"]
        if operator in "<>":
            if not value.lstrip("-").isdigit():
                raise _unparsable(whole, f'for "{operator}" the value must be an integer')
            return Requirement(found["key"], operator, (value,))
        return Requirement(found["key"], "notin" if operator == "!=" else "in", (value,))
    if found := _EXISTENCE.match(term):
        return Requirement(found["key"], "!" if found["negated"] else "exists")
    raise _unparsable(whole, f'found "{term.strip()}"')


_WRITTEN_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def label_selector_matches(selector: JsonObject | None, labels: JsonObject) -> bool:
    """Tell whether a LabelSelector matches; the empty one selects everything, none selects nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    terms = selector.get("matchExpressions") or ()
    return all(
        Requirement(t["key"], _WRITTEN_OPERATORS[t["operator"]], tuple(t.get("values") or ())).matches(labels)
        for t in terms
    )


def _unparsable(text: str, why: str) -> StatusError:
    return bad_request(f'unable to parse requirement: {why} in the label selector "{text}"')


# Fields that lists of a kind can be selected by, besides metadata.name and metadata.namespace.
_SELECTABLE: dict[str, tuple[str, ...]] = {
    "/pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "/events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
        "reason", "reportingComponent", "source", "type",
        "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid",
    ),
    "/secrets": ("type",),
    "/namespaces": ("status.phase",),
    "/nodes": ("spec.unschedulable",),
    "/services": ("spec.clusterIP", "spec.type"),
    "apps/replicasets": ("status.replicas",),
    "batch/jobs": ("status.successful",),
}  # fmt: skip

_FIELD_TERM = re.compile(r"^\s*(?P<path>[\w./\-\[\]]+?)\s*(?P<operator>==|!=|=)\s*(?P<value>.*?)\s*$")


def parse_field_selector(resource: Resource, text: str) -> tuple[tuple[tuple[str, ...], str, bool], ...]:
    """Parse `metadata.name=x,status.phase!=Running` into (path, value, equal) terms.

    Raises `StatusError` 400 for a term that cannot be read or a field this resource is not selected by.
    """
    allowed = {"metadata.name", "metadata.namespace", *_SELECTABLE.get(resource.storage, ())}
    allowed |= set(resource.selectable_fields)
    terms = []
    for term in text.split(","):
        if not term.strip():
            continue
        found = _FIELD_TERM.match(term)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        if found["path"] not in allowed:
            raise bad_request(f"field label not supported: {found['path']}")
        path = tuple(found["path"].replace("regarding.", "involvedObject.").split("."))
        terms.append((path, found["value"], found["operator"] != "!="))
    return tuple(terms)


def field_text(document: JsonObject, path: tuple[str, ...]) -> str:
    """Return the field at `path` as selectors compare it: text, empty where absent."""
    value: Any = document
    for step in path:
        if not isinstance(value, dict):
            return ""
        value = value.get(step)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return str(value.get("component", ""))
    return str(value)


def predicate(resource: Resource, label_selector: str, field_selector: str) -> Predicate | None:
    """Return the test both selectors amount to; None where everything matches."""
    requirements = parse_label_selector(label_selector)
    fields = parse_field_selector(resource, field_selector)
    if not requirements and not fields:
        return None

    def matches(document: JsonObject) -> bool:
        labels = metadata(document).get("labels") or {}
        return all(requirement.matches(labels) for requirement in requirements) and all(
            (field_text(document, path) == value) is equal for path, value, equal in fields
        )

    return matches
