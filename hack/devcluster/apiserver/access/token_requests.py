"""TokenRequest and TokenReview: how clients get a ServiceAccount's token, and ask whose one is.

After k8s.io/kubernetes/pkg/registry/core/serviceaccount/storage/token.go and .../authentication/tokenreview.
"""

from datetime import UTC, datetime

from devcluster.apiserver.access.tokens import ISSUER, InvalidTokenError, Tokens, TokenSpec
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import Cause, Subject, bad_request, conflict, invalid, not_found
from devcluster.apiserver.objects import JsonObject, format_time, metadata
from devcluster.apiserver.requests import Target
from devcluster.apiserver.store import Key
from devcluster.apiserver.writes import existing

_SHORTEST_SECONDS, _LONGEST_SECONDS = 600, 1 << 32
_KINDS = {"Pod": ("pod", "/pods"), "Secret": ("secret", "/secrets"), "Node": ("node", "/nodes")}


def answer_request(cluster: Cluster, tokens: Tokens, target: Target, request: JsonObject) -> JsonObject:
    """Return a TokenRequest with the token it asks for. Raises `StatusError` 400, 404, 409 or 422."""
    account = existing(cluster, target).document
    spec = request.get("spec") or {}
    seconds = _seconds(spec)
    audiences = tuple(str(audience) for audience in spec.get("audiences") or (ISSUER,))
    bound = _bound(cluster, target, spec["boundObjectRef"]) if spec.get("boundObjectRef") else {}
    token, expires = tokens.issue(account, TokenSpec(audiences, seconds, bound))
    return {
        **request,
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": None},
        "spec": {**spec, "audiences": list(audiences), "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": format_time(datetime.fromtimestamp(expires, UTC))},
    }


def _seconds(spec: JsonObject) -> int:
    seconds = spec.get("expirationSeconds")
    if seconds is None:
        return 3600
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise bad_request("TokenRequest: spec.expirationSeconds: must be a whole number of seconds")
    why = "may not specify a duration less than 10 minutes" if seconds < _SHORTEST_SECONDS else ""
    why = "may not specify a duration larger than 2^32 seconds" if seconds > _LONGEST_SECONDS else why
    if why:
        cause = Cause("FieldValueInvalid", "spec.expirationSeconds", f"Invalid value: {seconds}: {why}")
        raise invalid(Subject("authentication.k8s.io", "tokenrequests", "TokenRequest"), [cause])
    return seconds


def _bound(cluster: Cluster, target: Target, reference: JsonObject) -> dict[str, tuple[str, str]]:
    """Return what the token is to be bound to; a Pod's brings the node it runs on."""
    kind, name = str(reference.get("kind")), str(reference.get("name"))
    if kind not in _KINDS or reference.get("apiVersion", "v1") != "v1":
        raise bad_request(f"cannot bind token to object of type {reference.get('apiVersion')}, Kind={kind}")
    claim, storage = _KINDS[kind]
    subject = Subject("", storage.lstrip("/"), kind, name)
    entry = cluster.store.get(Key(storage, "" if kind == "Node" else target.namespace, name))
    if entry is None:
        raise not_found(subject)
    uid = metadata(entry.document)["uid"]
    if reference.get("uid") not in (None, "", uid):
        raise conflict(
            subject,
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )
    if kind != "Pod":
        return {claim: (name, uid)}
    pod = entry.document.get("spec", {})
    account = pod.get("serviceAccountName") or "default"
    if account != target.name:
        raise bad_request(
            f'cannot bind token for serviceaccount "{target.name}" to pod running with serviceaccount "{account}"'
        )
    node = cluster.store.get(Key("/nodes", "", pod.get("nodeName") or ""))
    told = {"node": (node.key.name, metadata(node.document)["uid"])} if node else {}
    return {claim: (name, uid), **told}


def review_status(tokens: Tokens, spec: JsonObject) -> JsonObject:
    """Return what a TokenReview is answered. Raises `StatusError` 400 without a token."""
    if not spec.get("token"):
        raise bad_request("token is required for TokenReview in authentication")
    try:
        user, audiences = tokens.user(str(spec["token"]), spec.get("audiences") or (ISSUER,))
    except InvalidTokenError as error:
        return {"user": {}, "error": str(error)}
    return {"authenticated": True, "user": user.info(), "audiences": audiences}
