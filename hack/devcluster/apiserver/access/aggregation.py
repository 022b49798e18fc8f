"""The rules of aggregated ClusterRoles: those of every ClusterRole that their selectors match. Pure.

After k8s.io/kubernetes/pkg/controller/clusterroleaggregation, whose roles come to this in turn after turn. A gathered
role that gathers itself counts with what it gathers, so one look is enough, and a ring of them comes to rest.
"""

from collections.abc import Collection

from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.selectors import label_selector_matches


def aggregated_rules(role: JsonObject, roles: Collection[JsonObject]) -> list[JsonObject] | None:
    """Return the rules that an aggregated role should have, of all roles; None for one that is not aggregated."""
    if not isinstance(role.get("aggregationRule"), dict):
        return None
    gathered: list[JsonObject] = []
    _gather(role, roles, gathered, {metadata(role)["name"]})
    return gathered


def _gather(role: JsonObject, roles: Collection[JsonObject], gathered: list[JsonObject], seen: set[str]) -> None:
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        matching = [one for one in roles if label_selector_matches(selector, metadata(one).get("labels") or {})]
        for other in sorted(matching, key=lambda one: str(metadata(one)["name"])):
            name = metadata(other)["name"]
            if name in seen:
                continue
            seen.add(name)
            if isinstance(other.get("aggregationRule"), dict):
                _gather(other, roles, gathered, seen)
            else:
                gathered += [rule for rule in other.get("rules") or () if rule not in gathered]
