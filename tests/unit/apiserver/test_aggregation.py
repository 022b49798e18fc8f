"""What aggregated ClusterRoles gather, and that what cannot be gathered by is refused."""

from rbac_objects import rule

from devcluster.apiserver.access.aggregation import aggregated_rules
from devcluster.apiserver.access.policy import cluster_roles
from devcluster.apiserver.access.policy_validation import policy_causes


def role(name, *rules, gathers=None, **labels):
    document = {"kind": "ClusterRole", "metadata": {"name": name, "labels": labels}, "rules": list(rules)}
    if gathers is not None:
        document["aggregationRule"] = {"clusterRoleSelectors": gathers}
    return document


def labelled(**labels):
    return {"matchLabels": labels}


def test_a_role_gathers_what_its_selectors_match_each_rule_once_by_name():
    pods, nodes = rule("get", "pods"), rule("get", "nodes")
    gathering = role("all", gathers=[labelled(a="x"), {"matchExpressions": [{"key": "b", "operator": "Exists"}]}])
    roles = [gathering, role("z", pods, a="x"), role("c", nodes, pods, b=""), role("other", rule("*", "*", "*"))]
    assert aggregated_rules(gathering, roles) == [pods, nodes]
    assert aggregated_rules(roles[1], roles) is None


def test_what_is_gathered_gathers_in_turn_and_a_ring_comes_to_rest():
    ring = [role("one", gathers=[labelled(to="one")], to="two"), role("two", gathers=[labelled(to="two")], to="one")]
    roles = [*ring, role("a", rule("get", "pods"), to="one"), role("b", rule("get", "nodes"), to="two")]
    ring[0]["rules"] = [rule("get", "secrets")]
    for one in ring:
        assert sorted(str(found) for found in aggregated_rules(one, roles)) == sorted(
            [str(rule("get", "pods")), str(rule("get", "nodes"))]
        )


def test_admin_holds_what_edit_holds_and_edit_what_view_holds():
    roles = cluster_roles()
    held = {name: aggregated_rules(next(r for r in roles if r["metadata"]["name"] == name), roles)
            for name in ("view", "edit", "admin")}  # fmt: skip
    assert all(found in held["edit"] for found in held["view"])
    assert all(found in held["admin"] for found in held["edit"])
    assert not any("secrets" in found["resources"] for found in held["view"])
    assert any("rolebindings" in found["resources"] for found in held["admin"])
    assert not any("rolebindings" in found["resources"] for found in held["edit"])


def test_every_role_the_cluster_begins_with_is_sound():
    assert [cause for one in cluster_roles() for cause in policy_causes(one)] == []


def test_an_aggregation_that_selects_nothing_or_by_nonsense_is_refused():
    nonsense = {"matchExpressions": [{"key": "a", "operator": "Near"}]}
    told = [str(cause) for gathers in ([], [nonsense]) for cause in policy_causes(role("r", gathers=gathers))]
    assert told == [
        "aggregationRule.clusterRoleSelectors: Required value: "
        "at least one clusterRoleSelector required if aggregationRule is non-nil",
        "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: "
        'Invalid value: "Near": not a valid selector operator',
    ]
