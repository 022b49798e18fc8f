"""Access reviews: who am I, may I, may he, what may I, and whose token is this? Answered at once, never stored.

After k8s.io/kubernetes/pkg/registry/authorization and .../authentication.
"""

from collections.abc import Callable

from aiohttp import web

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.access.gate import ACCESS, USER
from devcluster.apiserver.access.token_requests import review_status
from devcluster.apiserver.access.users import User
from devcluster.apiserver.errors import Cause, bad_request, invalid
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.requests import Target

Answer = Callable[[web.Request, Target, JsonObject], JsonObject]


def is_review(kind: str) -> bool:
    """Tell whether a kind is answered at once and never stored."""
    return kind in _ANSWERS


def answer(request: web.Request, target: Target, review: JsonObject) -> JsonObject:
    """Return the review with its status filled in. Raises `StatusError` 400 or 422."""
    resource = target.resource
    spec = review.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request(f"{resource.kind}: spec must be an object")
    status = _ANSWERS[resource.kind](request, target, spec)
    named = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**review, **named, "metadata": metadata(review) or {}, "status": status}


def _who_am_i(request: web.Request, _: Target, __: JsonObject) -> JsonObject:
    return {"userInfo": request[USER].info()}


def _may_i(request: web.Request, target: Target, spec: JsonObject) -> JsonObject:
    return _decision(request, request[USER], _attributes(target, spec))


def _may_he(request: web.Request, target: Target, spec: JsonObject) -> JsonObject:
    groups = tuple(str(group) for group in spec.get("groups") or ())
    if not spec.get("user") and not groups:
        cause = Cause(
            "FieldValueInvalid", "spec.user", 'Invalid value: "": at least one of user or group must be specified'
        )
        raise invalid(target.resource.subject(), [cause])
    return _decision(request, User(str(spec.get("user") or ""), groups), _attributes(target, spec))


def _may_he_here(request: web.Request, target: Target, spec: JsonObject) -> JsonObject:
    named = (spec.get("resourceAttributes") or {}).get("namespace")
    if named != target.namespace:
        raise bad_request(f"spec.resourceAttributes.namespace must match namespace: {target.namespace}")
    return _may_he(request, target, spec)


def _what_may_i(request: web.Request, _: Target, spec: JsonObject) -> JsonObject:
    namespace = spec.get("namespace")
    if not namespace:
        raise bad_request("no namespace on request")
    policies = [grant.policy for grant in request.app[ACCESS].authorizer.grants(request[USER], str(namespace))]
    on_resources = ("verbs", "apiGroups", "resources", "resourceNames")
    return {
        "resourceRules": [_only(rule, on_resources) for rule in policies if rule.get("resources")],
        "nonResourceRules": [
            _only(rule, ("verbs", "nonResourceURLs")) for rule in policies if rule.get("nonResourceURLs")
        ],
        "incomplete": False,
    }


def _whose_is_it(request: web.Request, _: Target, spec: JsonObject) -> JsonObject:
    return review_status(request.app[ACCESS].tokens, spec)


_ANSWERS: dict[str, Answer] = {
    "SelfSubjectReview": _who_am_i,
    "SelfSubjectAccessReview": _may_i,
    "SubjectAccessReview": _may_he,
    "LocalSubjectAccessReview": _may_he_here,
    "SelfSubjectRulesReview": _what_may_i,
    "TokenReview": _whose_is_it,
}


def _only(rule: JsonObject, fields: tuple[str, ...]) -> JsonObject:
    return {field: rule[field] for field in fields if field in rule}


def _decision(request: web.Request, user: User, attributes: Attributes) -> JsonObject:
    decision = request.app[ACCESS].authorizer.decide(user, attributes)
    return {"allowed": decision.allowed} | ({"reason": decision.reason} if decision.reason else {})


def _attributes(target: Target, spec: JsonObject) -> Attributes:
    """Read what a review asks about. Raises `StatusError` 422 unless it is one thing."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict) == isinstance(path, dict):
        message = "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise invalid(target.resource.subject(), [Cause("FieldValueInvalid", "spec.resourceAttributes", message)])
    if isinstance(path, dict):
        return Attributes(str(path.get("verb") or ""), path=str(path.get("path") or ""))
    given = resource or {}
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(*(str(given.get(field) or "") for field in fields))
