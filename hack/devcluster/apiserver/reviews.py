"""Access reviews: the dev cluster has no users, so everything is allowed and everyone is `devcluster`. Pure."""

from devcluster.apiserver.objects import JsonObject

_REASON = "the dev cluster allows everything"
_USER = {"username": "devcluster", "groups": ["system:masters", "system:authenticated"]}


def is_review(kind: str) -> bool:
    """Tell whether a kind is answered at once and never stored."""
    return kind.endswith("Review")


def answer(kind: str, review: JsonObject) -> JsonObject:
    """Return the review with its status filled in."""
    if kind == "SelfSubjectReview":
        status: JsonObject = {"userInfo": _USER}
    elif kind == "SelfSubjectRulesReview":
        rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        status = {
            "resourceRules": [rule],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    else:
        status = {"allowed": True, "reason": _REASON}
    return {**review, "metadata": review.get("metadata") or {}, "status": status}
