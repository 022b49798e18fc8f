"""What a request wants to do, as an authorizer sees it, read from method, path and query alone. Pure.

The grammar is k8s.io/apiserver/pkg/endpoints/request/requestinfo.go. It asks nobody whether the resource exists: who
may not see it does not learn that either.
"""

from collections.abc import Mapping
from typing import NamedTuple

from devcluster.apiserver.errors import StatusError, Subject
from devcluster.apiserver.requests import parse_boolean

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


class Attributes(NamedTuple):
    """One action: on a resource, or on `path` where `resource` is empty. Empty `namespace`: cluster scope."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def combined(self) -> str:
        """`pods` or `pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def attributes_of(method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """Return what a request wants."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, rest = parts[1], parts[3:]
    else:
        return Attributes(method.lower(), path=path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    verb = _VERBS.get(method, "")
    if verb == "get" and parse_boolean(query, "watch") and not subresource:
        return Attributes("watch", group, resource, "", namespace, name or _selected_name(query))
    if verb == "get" and not name:
        return Attributes("list", group, resource, "", namespace, _selected_name(query))
    if verb == "delete" and not name:
        verb = "deletecollection"
    return Attributes(verb, group, resource, subresource, namespace, name)


def _selected_name(query: Mapping[str, str]) -> str:
    """Return the one name that a list or watch is about, where its field selector says so."""
    for term in query.get("fieldSelector", "").split(","):
        field, equals, value = term.partition("=")
        if field.strip() == "metadata.name" and equals:
            name = value.removeprefix("=").strip()
            return "" if name in (".", "..") or "/" in name or "%" in name else name
    return ""


def refusal_text(user_name: str, attributes: Attributes) -> str:
    """Say that a user may not, in Kubernetes' words (k8s.io/apiserver/.../responsewriters/errors.go)."""
    if not attributes.resource:
        return f'User "{user_name}" cannot {attributes.verb} path "{attributes.path}"'
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    what = f'resource "{attributes.combined}" in API group "{attributes.group}"'
    return f'User "{user_name}" cannot {attributes.verb} {what} {where}'


def refusal(user_name: str, attributes: Attributes, reason: str = "") -> StatusError:
    """Return the 403 for a user who may not; `reason` is what could not be found out, if anything."""
    text = refusal_text(user_name, attributes) + (f": {reason}" if reason else "")
    return refused(Subject(attributes.group, attributes.resource, "", attributes.name), text)


def refused(subject: Subject, text: str) -> StatusError:
    """Return a 403 about a subject, which may have no name or be nothing but a path."""
    if not subject.plural:
        return StatusError(403, "Forbidden", f"forbidden: {text}", {})
    named = f'{subject.qualified} "{subject.name}"' if subject.name else subject.qualified
    details = {"name": subject.name, "group": subject.group, "kind": subject.plural}
    told = {field: value for field, value in details.items() if value}
    return StatusError(403, "Forbidden", f"{named} is forbidden: {text}", told)
