"""The rules of aggregated ClusterRoles: those of every ClusterRole that their selectors match. Pure.

After k8s.io/kubernetes/pkg/controller/clusterroleaggregation.
"""

from collections.abc import Iterable

from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.selectors import label_selector_matches


def aggregated_rules(role: JsonObject, others: Iterable[JsonObject]) -> list[JsonObject] | None:
    """Return the rules that an aggregated role should have; None for a role that is not aggregated."""
    rule = role.get("aggregationRule")
    if not isinstance(rule, dict):
        return None
    own = metadata(role)["name"]
    rules: list[JsonObject] = []
    for selector in rule.get("clusterRoleSelectors") or ():
        for other in sorted(others, key=lambda one: str(metadata(one)["name"])):
            labels = metadata(other).get("labels") or {}
            if metadata(other)["name"] == own or not label_selector_matches(selector, labels):
                continue
            rules += [wanted for wanted in other.get("rules") or () if wanted not in rules]
    return rules
